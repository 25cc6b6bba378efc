"""The benchmarks run, and compare like with like."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812

from benchmarks import __main__ as command
from benchmarks import (
    bare,
    ccccii,
    common,
    expand,
    experiment,
    features,
    finetune,
    ingest,
    memory,
    pictures,
    training,
)
from pulmospark.augment.augmenter import Augmenter
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.train import LogisticSettings
from pulmospark.core.hashing import bytes_id
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.spark.session import spark_session
from pulmospark.training.mllib_logistic import fit_logistic

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """One session for all: its start is most of what they take."""
    with spark_session(common.MASTER) as session:
        yield session


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
@pytest.mark.parametrize("measured", [ingest, features], ids=["ingest", "features"])
def test_a_smoke_run_writes_its_figures(
    measured: ModuleType,
    tmp_path: Path,
    shared_data: Path,
    shared_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PULMOSPARK_WEIGHTS", str(shared_weights))
    options = replace(command.SMALL, data=shared_data, out=tmp_path / "figures")
    target = common.publish(measured.measure(options), options, "the command", common.facts())
    told: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    assert told["small"]
    assert told["command"] == "the command"
    assert told["machine"]["cores"] >= 1
    warm = told["figures"]["warm"]
    bare_name = next(key for key in warm if key.startswith("bare"))
    assert warm[bare_name]["of_bare"] == 1
    for program in warm.values():
        assert program["per_second"] == pytest.approx(command.SMALL.files / program["seconds"][0])
    assert [path.name for path in options.out.iterdir()] == [target.name]  # no image is left


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_a_smoke_run_of_expand(tmp_path: Path, shared_data: Path) -> None:
    # One size: each takes a process with a Spark of its own.
    options = replace(command.SMALL, data=shared_data, out=tmp_path / "figures", rows=(160,))
    target = common.publish(expand.measure(options), options, "the command", common.facts())
    told = json.loads(target.read_text(encoding="utf-8"))["figures"]
    assert told["rows"] == 160
    assert set(told["memory"]) == {"160"}
    assert told["memory"]["160"]["rows"] == 160
    assert told["memory"]["160"]["sampled_mib"]["expand"]["driver"] > 10
    assert [path.name for path in options.out.iterdir()] == [target.name]


@pytest.mark.parametrize(("driver", "met"), [(110.0, True), (111.0, False)])
def test_memory_of_expand_is_that_of_the_most_rows_beside_the_fewest(
    driver: float, met: bool
) -> None:
    sampled = {
        80: {"driver": 100.0, "jvm": 300.0, "worker": 200.0, "together": 600.0},
        160: {"driver": driver, "jvm": 600.0, "worker": 190.0, "together": 900.0},
    }
    memory = {size: {"sampled_mib": {"expand": told}} for size, told in sampled.items()}
    found = common.speeds(160, {"pulmospark expand": [2.0], "bare": [1.0]}, "bare")
    report = expand.report_of(found, memory, 20, 160)
    assert report.figures["last_of_first"] == pytest.approx(
        {"driver": driver / 100, "jvm": 2.0, "worker": 0.95, "together": 1.5}
    )
    flat = next(note for note in report.notes if "memory of driver and worker" in note)
    assert flat == common.goal("memory of driver and worker flat within 10%", met)
    assert f"driver: 100 MiB at 80 rows, {driver:.0f} at 160" in report.notes


def test_finetune_takes_the_example_as_it_is(shared_data: Path) -> None:
    made = finetune.settings(shared_data, shared_data)
    assert made.split.folds == 5
    assert all(Path(str(source.path)).is_dir() for source in made.sources)


@pytest.mark.spark
def test_a_smoke_run_of_ccccii(tmp_path: Path) -> None:
    options = replace(command.SMALL, slices=(450,), out=tmp_path / "figures")
    target = common.publish(ccccii.measure(options), options, "the command", common.facts())
    told = json.loads(target.read_text(encoding="utf-8"))["figures"]["sizes"]["450"]
    assert told["slices"] == told["images"] == 450
    assert told["notes"] == {"missing_scans": 1, "slice_counts_differ": 1, "ignored_files": 1}
    assert set(told["seconds"]) == {"manifest", "split", "audits"}
    assert told["audits"]["near_duplicates"][0] == "pass"
    assert [path.name for path in options.out.iterdir()] == [target.name]


def test_the_bare_loop_makes_what_expand_makes(tmp_path: Path) -> None:
    pictures.write_images_table(tmp_path / "images", 5, pictures.pictures(None, count=2))
    items = expand.bare_items(tmp_path / "images", tmp_path, 5, 30)
    assert [item.draws for item in items] == [(0, 1, 2, 3), (4, 5)]
    assert sum(expand.bare_item(item) for item in items) == 30
    rows = [row for item in items for row in pq.read_table(item.target).to_pylist()]
    augmenter = Augmenter(AugmentSettings(), 1)
    images = pq.read_table(tmp_path / "images", columns=["image_id", "pixels"]).to_pylist()
    whole = {image["image_id"]: image["pixels"] for image in images}
    for row in rows:
        image = np.frombuffer(whole[row["parent_id"]], np.uint8).reshape(224, 224)
        if row["draw"]:
            assert augmenter(image, row["parent_id"], row["draw"])[0].tobytes() == row["pixels"]
        else:
            assert image.tobytes() == row["pixels"]


def test_the_command_names_what_there_is() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert all(name in ran.stderr for name in command.NAMES)


@pytest.mark.spark
def test_the_reference_minimises_what_mllib_minimises(spark: SparkSession) -> None:
    rng = np.random.default_rng(5)
    labels = np.arange(150) % 3
    scales = np.array([0.1, 1.0, 30.0, 1.0])
    features = (rng.normal(size=(150, 4)) + 0.8 * labels[:, None]) * scales + 5
    features[:, 3] = 2.0  # constant: MLlib gives it the weight 0
    weights, bias = experiment.fit_reference(features, labels, 0.05)
    rows = [(row.tolist(), float(label)) for row, label in zip(features, labels, strict=True)]
    frame = spark.createDataFrame(rows, "features array<double>, label double")
    frame = frame.withColumn("features", array_to_vector(F.col("features")))
    settings = LogisticSettings(max_iter=100)
    head = fit_logistic(frame, "made up", ("a", "b", "c"), settings, 0.05).head
    ours = _softmax(features @ head.weights.T + head.bias)
    np.testing.assert_allclose(ours, _softmax(features @ weights.T + bias), atol=1e-3)


def _softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def test_programs_take_turns() -> None:
    order: list[str] = []

    def program(name: str) -> float:
        order.append(name)
        return 2.0 if name == "a" else 1.0

    seconds = common.take_turns({"a": lambda: program("a"), "b": lambda: program("b")}, 3)
    assert order == ["a", "b"] * 3
    found = common.speeds(10, seconds, "b")
    assert found["a"]["per_second"] == 5
    assert found["a"]["of_bare"] == 0.5


@pytest.mark.spark
@pytest.mark.usefixtures("spark")
def test_training_is_compared_with_a_bare_loop_and_with_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EPOCHS", 2)  # one that is counted
    report = training.measure(replace(command.SMALL, out=tmp_path))
    assert [row[:2] for row in report.rows] == [
        ("squeezenet1_1", name)
        for name in ("bare loop: tensors in memory", training.DEFAULTS, "pulmospark, 2 processes")
    ]
    found = report.figures["speeds"]["squeezenet1_1"]
    assert all(one["per_second"] > 0 for one in found.values())
    # All have learnt from the same images as long.
    assert all(0.3 < loss < 3.0 for loss in report.figures["losses"].values())


def test_the_median_decides() -> None:
    found = common.speeds(100, {"spark": [9.0, 1.0, 2.0], "bare": [1.0, 1.0, 1.0]}, "bare")
    assert found["spark"]["of_bare"] == 0.5
    assert found["spark"]["of_bare_rounds"] == [1 / 9, 1.0]


def test_the_bare_loop_gives_the_standard_image(tmp_path: Path) -> None:
    made_of = pictures.pictures(None, count=2)
    for path in pictures.write_images(tmp_path / "images", 3, made_of):
        image = image_from_bytes(path.read_bytes(), IngestSettings())
        assert isinstance(image, StandardImage)
        assert (image.height, image.width) == (pictures.SIDE, pictures.SIDE)
        assert bare.lean_pixels(str(path), 224).tobytes() == image.pixels.tobytes()
        assert [work(str(path)) for work in bare.file_works(224).values()] == [1, 1, 1]


def test_no_two_files_are_alike(tmp_path: Path) -> None:
    made_of = pictures.pictures(None, count=2)
    paths = pictures.write_images(tmp_path / "images", 7, made_of)
    assert len({bytes_id(path.read_bytes()) for path in paths}) == 7


@given(st.text(max_size=200))
def test_a_comment_leaves_the_picture(text: str) -> None:
    plain = pictures.encoded(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64), 100_000)
    commented = Image.open(io.BytesIO(pictures.with_comment(plain, text)))
    assert commented.info.get("comment", b"") == text.encode()
    np.testing.assert_array_equal(commented, Image.open(io.BytesIO(plain)))


def test_a_images_bytes_stay_below_the_size_asked_for() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (256, 256), dtype=np.uint8)
    assert 20_000 < len(pictures.encoded(noise, 30_000)) <= 30_000


def test_the_samplers_see_memory_that_a_child_takes() -> None:
    mib = 2**20
    hold = f"x = bytearray(b'1' * {64 * mib}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        peaks = memory.Peaks("stage one")
        peaks.see(memory.processes_of(psutil.Process(child.pid)))
        assert peaks.sampled["stage one"]["driver"] > 64 * mib
        assert (memory.high_water(child.pid) or 0) >= peaks.sampled["stage one"]["driver"] - mib
        child.communicate("\n")
    peaks.see({psutil.Process(): "driver"})
    assert set(peaks.values()["sampled_mib"]["stage one"]) == {"driver", "together"}


def test_the_experiments_classes_are_findings_that_the_sources_have(shared_data: Path) -> None:
    import csv

    made = experiment.settings(shared_data, shared_data)
    with (shared_data / "covid-chestxray-dataset" / "metadata.csv").open(encoding="utf-8") as file:
        known = {row["finding"] for row in csv.DictReader(file)}
    known |= {"NORMAL", "PNEUMONIA bacterial", "PNEUMONIA viral"}
    named = {finding for findings in made.classes.values() for finding in findings}
    assert named <= known
    assert known - named == {"ARDS"}
    assert all(Path(str(source.path)).is_dir() for source in made.sources)
