"""Tables and a cohort that were made with other settings are told, with what makes them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.expansions import member, write_cohort
from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.config.split import SplitSettings
from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.provenance import provenance
from pulmospark.data.cohort.lineage import check_made_with, is_made_with
from pulmospark.data.cohort.split_summary import read_split

_EXPERIMENT = Experiment(
    sources=(SourceSettings(path=Path("images")),),
    classes={"covid": ("COVID-19",), "normal": ("No Finding",)},
    split=SplitSettings(folds=2),
)


def _changed(**changes: Any) -> Experiment:
    return Experiment.model_validate(_EXPERIMENT.model_dump() | changes)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose records say that they were made with these settings."""
    write_cohort(tmp_path, [member(1), member(2, "normal")])
    told = {"provenance": provenance(_EXPERIMENT.ingest.model_dump(mode="json"))}
    files.write_json(tmp_path / "tables" / "ingest.json", told)
    result = read_split(tmp_path / "cohort").model_copy(update={"findings": _EXPERIMENT.classes})
    _write_split(tmp_path, result.model_dump(mode="json"))
    return tmp_path


def _write_split(run: Path, result: dict[str, Any]) -> None:
    made = provenance(_EXPERIMENT.split.model_dump(mode="json"), seed=_EXPERIMENT.seed)
    files.write_json(run / "cohort" / "split.json", {"result": result, "provenance": made})


def _check(run: Path, experiment: Experiment) -> None:
    check_made_with(experiment, run / "tables", run / "cohort")


def test_the_same_settings_pass(run: Path) -> None:
    _check(run, _EXPERIMENT)
    assert is_made_with(_EXPERIMENT, run / "tables", run / "cohort")
    _check(run, _changed(name="other", train={"method": "network"}))
    _check(run, _changed(ingest={"salt_path": "/secrets/salt"}))  # it changes no pixel


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ingest": {"size": 64}}, r"ingest\.size = 224, .* has 64: run `pulmospark ingest`"),
        ({"ingest": {"crop": "lungs"}}, r"ingest\.crop = 'none', .* has 'lungs': .* ingest`"),
        ({"ingest": {"equalise": True}}, r"ingest\.equalise = False, .* has True: .* ingest`"),
        ({"ingest": {"fit": "pad"}}, r"ingest\.fit = 'stretch'.* ingest`"),
        ({"ingest": {"ct_window": "soft"}}, r"ingest\.ct_window = 'lung'.* ingest`"),
        ({"split": {"folds": 5}}, r"split\.folds = 2, .* has 5: run `pulmospark split` again"),
        ({"split": {"folds": 2, "views": ["PA"]}}, r"split\.views = .*pulmospark split`"),
        ({"seed": 7}, r"seed = 20201, .* has 7: run `pulmospark split` again"),
        ({"classes": {"covid": ["COVID-19"], "normal": ["none"]}}, r"other classes.* split`"),
        ({"classes": {"normal": ["No Finding"], "covid": ["COVID-19"]}}, r"other classes"),
        ({"classes": {}}, r"other classes .*covid, normal.*pulmospark split`"),
    ],
)
def test_other_settings_are_refused(run: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        _check(run, _changed(**changes))
    assert "\n" not in caught.value.message
    assert not is_made_with(_changed(**changes), run / "tables", run / "cohort")


def test_a_setting_that_an_older_version_did_not_know_has_its_default(run: Path) -> None:
    record = run / "tables" / "ingest.json"
    told = files.read_json(record)
    del told["provenance"]["settings"]["crop"]
    told["provenance"]["settings"]["a_setting_of_old"] = 1
    files.write_json(record, told)
    _check(run, _EXPERIMENT)
    with pytest.raises(InputError, match=r"ingest\.crop = 'none'"):
        _check(run, _changed(ingest={"crop": "lungs"}))


def test_of_an_older_cohort_the_names_of_the_classes_are_known(run: Path) -> None:
    result = read_split(run / "cohort").model_dump(mode="json")
    del result["findings"]
    _write_split(run, result)
    _check(run, _changed(classes={"covid": ["covid*"], "normal": ["No Finding"]}))
    with pytest.raises(InputError, match="other classes"):
        _check(run, _changed(classes={"covid": ["COVID-19"], "healthy": ["No Finding"]}))


def test_records_that_tell_no_settings_pass(run: Path) -> None:
    files.write_json(run / "tables" / "ingest.json", {"result": {}})
    result = read_split(run / "cohort").model_dump(mode="json")
    files.write_json(run / "cohort" / "split.json", {"result": result | {"findings": None}})
    _check(run, _changed(seed=7, ingest={"size": 64}, split={"folds": 5}))


@pytest.mark.parametrize("name", ["tables/ingest.json", "cohort/split.json"])
def test_a_missing_step_is_named(run: Path, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(InputError, match=f"run `pulmospark {Path(name).stem}` first"):
        _check(run, _EXPERIMENT)
    assert not is_made_with(_EXPERIMENT, run / "tables", run / "cohort")
