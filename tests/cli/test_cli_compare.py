"""``pulmospark compare``: which stages it does first."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from data.expansions import member, write_cohort
from pulmospark.cli.main import cli
from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.core import files
from pulmospark.core.errors import PlatformError
from pulmospark.core.provenance import provenance
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.experiment.run_folder import RunFolder, save_settings


def _no_spark(*_: object) -> None:
    raise PlatformError("Spark is started")


@pytest.mark.parametrize("changed", ["ingest.crop=lungs", "split.folds=5", "seed=7", None])
def test_ingest_and_split_are_done_again_where_their_settings_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str | None
) -> None:
    images = tmp_path / "images"
    experiment = Experiment(sources=(SourceSettings(path=images),))
    run = RunFolder(tmp_path / "run")
    write_cohort(run.root, [member(1), member(2, "normal")])
    made = provenance(experiment.ingest.model_dump(mode="json"))
    files.write_json(run.tables / "ingest.json", {"provenance": made})
    told = {
        "result": read_split(run.cohort)
        .model_copy(update={"findings": {}})
        .model_dump(mode="json"),
        "provenance": provenance(experiment.split.model_dump(mode="json"), seed=experiment.seed),
    }
    files.write_json(run.cohort / "split.json", told)
    save_settings(experiment, run)
    monkeypatch.setattr("pulmospark.spark.session.spark_session", _no_spark)
    words = ["compare", str(run.root), "--models", "mobilenet_v2,squeezenet1_1"]
    words += ["--set", changed] if changed else []
    said = CliRunner().invoke(cli, words)
    # The images have gone: that matters only where they have to be read again.
    wanted = f"{images}" if changed else "Spark is started"
    assert wanted in said.output + str(said.exception)
