"""The scoring benchmarks compare like with like, and run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from benchmarks.lean import Job, Mapper
from benchmarks.pictures import pictures, write_images
from PIL import Image

from benchmarks import __main__ as command
from benchmarks import bare, cold, common, peers, scale, score
from pulmospark.config.ingest import IngestSettings
from pulmospark.imaging.image import StandardImage, read_image
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.models.bundle.bundle import read_bundle


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    folder = tmp_path_factory.mktemp("bundle")
    bundle = score.benchmark_bundle(folder / "bundle", "squeezenet1_1")
    return prepare_engine(read_bundle(bundle).network(), folder / "engines", size=224)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, spec: EngineSpec) -> Job:
    folder = tmp_path_factory.mktemp("score")
    pool = write_images(folder / "pool", 5, pictures(None, count=2))
    score.link_images(pool, 5, folder / "images")
    bundle = Path(spec.folder).parents[1] / "bundle"
    return Job(str(folder / "images"), str(folder / "out"), spec.folder, bundle=str(bundle))


@pytest.fixture(scope="module")
def wanted(job: Job, spec: EngineSpec) -> np.ndarray[Any, Any]:
    """Logits of the images in the order of their names, by pulmospark."""
    images = [read_image(path, IngestSettings()) for path in job.paths()]
    pixels = np.stack([each.pixels for each in images if isinstance(each, StandardImage)])
    logits = open_engine(spec).run(pixels.reshape(5, 224, 224)).logits
    assert logits is not None
    return logits


def _logits(folder: str) -> np.ndarray[Any, Any]:
    table = pq.read_table(folder, columns=["uri", "logits"]).sort_by("uri")
    return np.asarray(table["logits"].to_pylist())


@pytest.mark.parametrize(
    ("name", "tolerance"),
    # Pillow resizes in another way: near, and not the same.
    [("two_threads", 1e-5), ("loader", 1e-5), ("torch_defaults", 0.5)],
)
def test_programs_give_the_logits_of_a_prediction(
    name: str, tolerance: float, job: Job, wanted: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    own = replace(job, out=str(tmp_path / "out"))
    Path(own.out).mkdir()
    # A process of its own, as in a benchmark: OpenVINO's threads do not outlive a loader's fork.
    (tmp_path / "job.json").write_text(json.dumps(asdict(own)), encoding="utf-8")
    common.finish(common.python("-m", "benchmarks.peers", name, str(tmp_path / "job.json")))
    assert peers.rows_of(name, own) == 5
    np.testing.assert_allclose(_logits(own.out), wanted, atol=tolerance)


def test_maps_of_frameworks_score_paths_and_bytes(job: Job, wanted: np.ndarray[Any, Any]) -> None:
    mapper, paths = Mapper(job.engine, job.precision), job.paths()
    scored = mapper({"path": np.asarray(paths)})
    assert scored["uri"].tolist() == paths
    np.testing.assert_allclose(scored["logits"], wanted, atol=1e-5)
    read = {"path": paths, "bytes": [Path(path).read_bytes() for path in paths]}
    np.testing.assert_array_equal(mapper(read)["logits"], scored["logits"])


def test_pytorchs_data_set_gives_the_image(job: Job) -> None:
    images = peers.Images(job.paths(), 64)
    assert len(images) == 5
    whole = Image.open(job.paths()[0]).resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(images[0].numpy(), np.asarray(whole))
    assert np.abs(np.asarray(whole).astype(int) - bare.lean_pixels(job.paths()[0], 64)).mean() < 8


def _published(
    measure: Callable[[common.Options], common.Report], folder: Path, **options: Any
) -> dict[str, Any]:
    small = replace(command.SMALL, out=folder / "figures", **options)
    target = common.publish(measure(small), small, "the command", common.facts())
    assert [path.name for path in small.out.iterdir()] == [target.name]
    told: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return told


def test_a_smoke_run_of_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The others take seconds to start: `python -m benchmarks score --small` runs them all.
    monkeypatch.setattr(score, "installed", lambda: ["torch_defaults"])
    monkeypatch.setattr(score, "OURS", ("two_threads", "predict"))
    monkeypatch.setattr(score, "native_precision", lambda _: "fp32")
    told = _published(score.measure, tmp_path, score_images=(3, 6))
    programs = told["figures"]["speeds"]["squeezenet1_1"]
    ours = {"two threads of one process, fp32", "pulmospark predict, fp32"}
    assert set(programs["3"]) == ours | {"DataLoader, PyTorch fp32, Pillow"}
    assert set(programs["6"]) == ours
    assert all(each["per_second"] > 0 for by in programs.values() for each in by.values())
    assert any("flat within 5 %" in note for note in told["notes"])
    assert any("not installed" in note and "ray" in note for note in told["notes"])


def test_a_smoke_run_of_cold_with_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "PEERS_OF_ANY", ("two_threads", "predict"))
    monkeypatch.setattr(cold, "PEERS_OF_FEW", ())
    told = _published(cold.measure, tmp_path, score_images=(64,), peers=True)
    assert set(told["figures"]) == {"two threads of one process, 64", "pulmospark predict, 64"}
    assert all(cost["peak_mib"] > 0 and cost["cpu_s"] > 0 for cost in told["figures"].values())
    assert any("predict 64: 0.7 of two threads" in note for note in told["notes"])


def test_a_smoke_run_of_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "PROGRAMS", ("two_threads",))
    told = _published(scale.measure, tmp_path, score_images=(2, 4, 6), price_per_hour=2.0)
    assert [row[:4] for row in told["table"][1:]] == [
        ["two threads of one process", "1", "1", count] for count in ("2", "4", "6")
    ]
    assert all(float(row[-1]) > 0 for row in told["table"][1:])
    assert set(told["figures"]["fits"]) == {"two threads of one process"}


def test_a_fit_finds_the_start_and_the_seconds_of_an_image() -> None:
    rng = np.random.default_rng(3)
    sizes = [(images, slots) for slots in (1, 2) for images in (500, 1000, 2000, 4000)]
    runs = [
        scale.Run("p", slots, images, 5 + 0.004 * images / slots + rng.normal(0, 0.05))
        for images, slots in sizes
    ]
    told = scale.fit(runs, 1_000_000, 2)
    assert told.start == pytest.approx(5, abs=0.2)
    assert told.each == pytest.approx(0.004, rel=0.02)
    assert told.low < 5 + 0.004 * 500_000 < told.high
    assert told.high - told.low < 100
    assert told.held_out is not None
    assert told.held_out < 0.05
    exact = [run._replace(seconds=5 + 0.004 * run.images / run.slots) for run in runs]
    told = scale.fit(exact, 1_000_000, 2)
    assert (told.low, told.predicted, told.high) == pytest.approx((2005, 2005, 2005))


@pytest.mark.parametrize("runs", [[(500, 1)] * 4, [(500, 1), (1000, 1)]])
def test_too_few_runs_are_no_fit(runs: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="a fit takes three"):
        scale.fit([scale.Run("p", slots, images, 1.0) for images, slots in runs], 1000, 1)
