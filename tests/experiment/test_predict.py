"""Predict: a table and a CSV of many images, plain words for one, a damaged bundle refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from conftest import FinishedRun

pytestmark = pytest.mark.spark


def _predict(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pulmospark", "predict", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env=dict(os.environ),
    )


def test_a_folder_gives_a_table_a_csv_and_rejects(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    folder = Path(str(finished_run.experiment.sources[0].path)) / "images"
    out = tmp_path / "out"
    done = _predict(str(finished_run.folder.bundle), str(folder), "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    rows = pq.read_table(out / "predictions").to_pylist()
    rejects = pq.read_table(out / "rejects").num_rows
    assert len(rows) + rejects == len(list(folder.iterdir()))
    assert told["images"] == len(rows)
    assert told["rejects"] == rejects
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        sheet = list(csv.DictReader(file))
    for column in ("uri", "prediction"):
        assert [line[column] for line in sheet] == [row[column] for row in rows]
    assert [row["uri"] for row in rows] == sorted(row["uri"] for row in rows)
    for row in rows:
        assert sum(row["probability"]) == pytest.approx(1.0, abs=1e-9)


def test_one_image_is_answered_in_plain_words(finished_run: FinishedRun) -> None:
    folder = Path(str(finished_run.experiment.sources[0].path)) / "images"
    image = max(folder.glob("*.png"), key=lambda path: path.stat().st_size)
    done = _predict(str(finished_run.folder.bundle), str(image))
    assert done.returncode == 0, done.stderr
    assert "%" in done.stdout
    assert "not a medical device" in done.stdout
    for name in finished_run.result.train.classes:
        assert name in done.stdout


def test_one_byte_changed_and_the_bundle_is_refused(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(finished_run.folder.bundle, bundle)
    weights = bytearray((bundle / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (bundle / "model.safetensors").write_bytes(weights)
    done = _predict(str(bundle), str(finished_run.experiment.sources[0].path))
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1
    assert "model.safetensors" in done.stderr


def test_nothing_matches(finished_run: FinishedRun, tmp_path: Path) -> None:
    done = _predict(str(finished_run.folder.bundle), str(tmp_path / "*.png"))
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
