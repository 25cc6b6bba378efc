"""``pulmospark expand`` as a user meets it, and the flag of the arm without augmentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data.expansions import CLASSES, member, write_cohort
from pulmospark.cli.main import cli
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.expand import ExpandSettings
from pulmospark.config.experiment import Experiment, read_experiment
from pulmospark.config.source import SourceSettings
from pulmospark.config.train import TrainSettings
from pulmospark.core.errors import InputError, UsageError
from pulmospark.experiment.expand_inputs import expansion, find_place, with_augmentation
from pulmospark.experiment.run_folder import RunFolder, open_experiment, save_settings

_TOML = """
seed = 4
[[sources]]
path = "images"
[expand]
per_class = 9
[expand.augment]
rotation = { degrees = 30, probability = 1 }
[train]
expanded = true
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [member(n, CLASSES[n % 2], "test" if n > 7 else "train") for n in range(10)]
    write_cohort(tmp_path / "run", rows)
    return tmp_path / "run"


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_a_run_and_its_tables_give_the_same(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cli.main(["expand", str(run), "--per-class", "9", "--json"], standalone_mode=False)
    told = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    assert told["rows"] == 18
    assert told["expanded"] == str(run / "expanded")
    other = ["--out", str(tmp_path / "other")]
    cli.main(
        ["expand", str(run / "tables"), "--per-class", "9", *other, "-q"], standalone_mode=False
    )
    assert "covid: 4 images and 5 augmented copies, at most 2 per image" in capfd.readouterr().out
    tables = [
        pq.read_table(folder / "table").sort_by("uri")
        for folder in (run / "expanded", tmp_path / "other")
    ]
    assert tables[0].equals(tables[1])


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_settings_of_a_file_and_a_image_that_is_tested_on(run: Path, tmp_path: Path) -> None:
    toml, images = tmp_path / "my.toml", tmp_path / "images.txt"
    toml.write_text(_TOML, encoding="utf-8")
    cli.main(["expand", str(run), "--config", str(toml), "-q"], standalone_mode=False)
    rows = pq.read_table(run / "expanded" / "table").to_pylist()
    assert len(rows) == 18
    assert all('"rotation"' in row["operations"] for row in rows if row["draw"])
    images.write_text("/images/00000.png\n\n/images/00009.png\n", encoding="utf-8")
    asked = ["expand", str(run), "--per-class", "9", "--parents", str(images), "-q"]
    with pytest.raises(InputError, match=r"/images/00009\.png: is in the test split"):
        cli.main(asked, standalone_mode=False)


def test_what_is_missing_is_named(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UsageError, match="pulmospark ingest"):
        find_place(tmp_path / "nothing")
    with pytest.raises(InputError, match="pulmospark split"):
        find_place(run, cohort=tmp_path)
    with pytest.raises(UsageError, match="--per-class"):
        expansion(None, None, None)


def _experiment(**changes: object) -> Experiment:
    return Experiment(sources=(SourceSettings(path=Path("images")),), **changes)  # type: ignore[arg-type]


def test_the_runs_own_settings_are_taken(run: Path, tmp_path: Path) -> None:
    rotated = AugmentSettings.model_validate({"rotation": {"degrees": 20}})
    experiment = _experiment(
        seed=9,
        expand=ExpandSettings(per_class=5, augment=rotated),
        train=TrainSettings(expanded=True),
    )
    save_settings(experiment, RunFolder(run))
    place = find_place(run)
    assert place.experiment == experiment
    assert expansion(place.experiment, None, None) == (experiment.expand, 9)
    settings, seed = expansion(place.experiment, 8, 3)
    assert (settings.per_class, settings.augment, seed) == (8, rotated, 3)
    fly = _experiment(train=TrainSettings(augment=rotated))
    assert expansion(fly, 8, None)[0].augment == rotated


def test_one_flag_is_the_arm_without_augmentation(tmp_path: Path) -> None:
    toml = tmp_path / "my.toml"
    toml.write_text(_TOML + 'expanded_path = "there"\n[train.augment]\n', encoding="utf-8")
    experiment = read_experiment(toml)
    assert experiment.train.augment == AugmentSettings()
    assert experiment.train.expanded_path == tmp_path / "there"
    assert with_augmentation(experiment, None) == experiment
    bare = with_augmentation(experiment, False)
    assert (bare.expand, bare.train.augment, bare.train.expanded) == (None, None, False)
    assert with_augmentation(bare, True).train.augment == AugmentSettings()
    again, _ = open_experiment(toml, {"train.model": "basic_cnn"})
    assert again.train.augment == AugmentSettings()


def test_a_table_that_nothing_trains_on_is_told(tmp_path: Path) -> None:
    toml = tmp_path / "my.toml"
    toml.write_text(_TOML.replace("expanded = true", ""), encoding="utf-8")
    with pytest.raises(UsageError, match=r"train\.expanded is false"):
        read_experiment(toml)


def test_expand_imports_no_torch() -> None:
    code = "import sys, pulmospark.data.expand.expand; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
