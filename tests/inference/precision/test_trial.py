"""Engines run on a sample in any executor as they run on its images here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from inference.precision.killing import KillingTrial
from pulmospark.chunks.local import LocalPool, ThisProcess
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import new_engine
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.precision import trial
from pulmospark.inference.precision.sample import SCHEMA, standard_pixels
from pulmospark.inference.precision.trial import TrialWork, run_trial
from pulmospark.models.bundle.feature_distance import FeatureDistance
from pulmospark.models.zoo import networks

SIZE = 32
SETTINGS = IngestSettings(size=SIZE)
FILES, KNOWN = limits.PARITY_TASK_IMAGES, 2 * limits.PARITY_TASK_IMAGES


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    torch.manual_seed(4)
    network = networks.build("basic_cnn", 3).eval()
    folder = tmp_path_factory.mktemp("engines")
    return prepare_engine(network, folder, size=SIZE, kind="openvino", outputs="both")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (FILES + KNOWN, SIZE, SIZE), dtype=np.uint8)


@pytest.fixture(scope="module")
def sample(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """Files, one of them not an image and one missing, and standard images."""
    folder = tmp_path_factory.mktemp("images")
    rows = []
    for number, pixels in enumerate(images[:FILES]):
        path = folder / f"{number:02d}.png"
        Image.fromarray(pixels).save(path)
        rows.append({"uri": str(path), "size_bytes": path.stat().st_size})
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    for place, name in ((3, "text.png"), (5, "missing.png")):
        rows.insert(place, {"uri": str(folder / name), "size_bytes": 10})
    rows += [{"uri": "a row", "pixels": pixels.tobytes()} for pixels in images[FILES:]]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def test_every_executor_gives_the_answers_of_the_images_in_their_order(
    engine: EngineSpec, images: np.ndarray, sample: pa.Table, tmp_path: Path
) -> None:
    lower = engine.in_precision("fp16", 2)
    logits, features = new_engine(engine).run(images)
    assert logits is not None
    assert features is not None
    axes = np.eye(2, features.shape[1], dtype=np.float32)
    distance = FeatureDistance(features.mean(axis=0), axes, np.ones(2, np.float32), 1.0)
    statistics = tmp_path / "distance.safetensors"
    statistics.write_bytes(distance.to_bytes())
    work = TrialWork((engine, lower), SETTINGS, str(statistics))

    alone = run_trial(work, sample, ThisProcess())
    with LocalPool(3) as pool:
        shared = run_trial(work, sample, pool)

    for answers in (alone, shared):
        exact = answers[engine.engine_id]
        np.testing.assert_array_equal(exact.logits, logits)
        np.testing.assert_array_equal(exact.distances, distance.of(features))
        assert exact.milliseconds > 0
    assert alone.keys() == shared.keys()
    for name in alone.keys() - {engine.engine_id}:  # if this processor has it
        np.testing.assert_array_equal(alone[name].logits, shared[name].logits)


def test_tasks_have_a_useful_number_of_images(
    engine: EngineSpec, sample: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    pixels_of = standard_pixels

    def counted(rows: pa.Table, settings: IngestSettings) -> np.ndarray:
        sizes.append(len(rows))
        return pixels_of(rows, settings)

    monkeypatch.setattr(trial, "standard_pixels", counted)
    many = ThisProcess()
    many.slots = 64
    run_trial(TrialWork((engine,), SETTINGS), sample, many)
    assert sum(sizes) == len(sample)
    assert min(sizes) >= limits.PARITY_TASK_IMAGES - len(sizes)
    assert len(sizes) == len(sample) // limits.PARITY_TASK_IMAGES


def test_a_processor_without_a_precision_has_no_answers(
    engine: EngineSpec, sample: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "capabilities", lambda: frozenset({"FP32"}))
    work = TrialWork((engine, engine.in_precision("bf16", 2)), SETTINGS)
    assert run_trial(work, sample, ThisProcess()).keys() == {engine.engine_id}


def test_without_readable_images_there_are_no_answers(
    engine: EngineSpec, sample: pa.Table
) -> None:
    work = TrialWork((engine,), SETTINGS)
    assert run_trial(work, sample.slice(3, 1), ThisProcess()) == {}
    assert run_trial(work, sample.slice(0, 0), ThisProcess()) == {}


def test_an_image_that_ends_its_worker_is_left_out(
    engine: EngineSpec,
    images: np.ndarray,
    sample: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # where workers find it
    logits, _ = new_engine(engine).run(images)
    assert logits is not None
    work = KillingTrial((engine,), SETTINGS, deadly=sample["uri"][1].as_py())
    with LocalPool(2) as pool:
        answers = run_trial(work, sample, pool)
    np.testing.assert_array_equal(answers[engine.engine_id].logits, np.delete(logits, 1, axis=0))
