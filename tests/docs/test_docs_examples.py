"""The examples in Python run as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import EXAMPLES
from pulmospark.audit.single_feature import KINDS


def _run(*command: str, env: dict[str, str] | None = None, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.spark
def test_the_pipeline_runs_on_a_few_phantoms(shared_weights: Path, tmp_path: Path) -> None:
    weights = {"PULMOSPARK_WEIGHTS": str(shared_weights)}
    said = _run(
        str(EXAMPLES / "spark_ml_pipeline.py"), "16", "squeezenet1_1", env=weights, cwd=tmp_path
    )
    assert "ImageFeaturizer and LogisticRegression" in said
    assert "CnnClassifier: accuracy" in said


@pytest.mark.spark
def test_submit_makes_a_run_whose_tables_are_read_without_spark(
    shared_data: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    originals = shared_data / "chest_xray" / "test"
    for label in ("NORMAL", "PNEUMONIA"):
        (images / label).mkdir(parents=True)
        for number, image in enumerate(sorted((originals / label).iterdir())[:15]):
            (images / label / f"{number}{image.suffix}").symlink_to(image)
    (images / "NORMAL" / "empty.png").touch()
    copying = ["near_duplicates", "label_conflict", *(f"class_by_{kind.name}" for kind in KINDS)]
    toml = tmp_path / "small.toml"
    toml.write_text(
        'name = "small"\nsources = [{ path = "images" }]\n[ingest]\nsize = 32\n'
        '[train]\nmodel = "basic_cnn"\nmethod = "features"\nweights = "none"\n'
        "[train.logistic]\nmax_iter = 5\n"
        # Those that look for near copies are Spark jobs, and tested elsewhere.
        f"[audit]\nskip = {json.dumps(copying)}\n[evaluate]\nreplicates = 100\n"
    )
    told = _run(
        str(EXAMPLES / "submit.py"), "run", str(toml), "--master", "local[2]", cwd=tmp_path
    )
    assert told.splitlines()[-1] == f"report: {tmp_path / 'runs' / 'small' / 'report.html'}"
    said = _run(str(EXAMPLES / "read_tables.py"), str(tmp_path / "runs" / "small"), cwd=tmp_path)
    assert "empty" in said
    assert "the first image: 32 x 32" in said
