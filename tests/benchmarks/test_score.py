"""The scoring benchmarks compare like with like, and run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from benchmarks.pictures import pictures, write_images
from benchmarks.score_programs import Actor, Job
from PIL import Image

from benchmarks import __main__ as command
from benchmarks import bare, common, score, score_programs
from pulmospark.config.ingest import IngestSettings
from pulmospark.imaging.image import StandardImage, read_image
from pulmospark.inference.engine.bundle_engine import bundle_engine
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.models.bundle.bundle import read_bundle


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("score")
    images = write_images(folder / "images", 5, pictures(None, count=2))
    bundle = score.benchmark_bundle(folder / "bundle", "squeezenet1_1")
    engine = bundle_engine(read_bundle(bundle), folder / "engines")
    (folder / "out").mkdir()
    uris = tuple(map(str, images))
    return Job(uris, str(folder / "out"), engine.model_dump(mode="json"), str(bundle))


def _logits(folder: str) -> np.ndarray[Any, Any]:
    table = pq.read_table(folder, columns=["uri", "logits"]).sort_by("uri")
    return np.asarray(table["logits"].to_pylist())


def test_all_programs_give_the_logits_of_a_prediction(job: Job, tmp_path: Path) -> None:
    settings = IngestSettings()
    images = [read_image(uri, settings) for uri in sorted(job.images)]
    pixels = np.stack([f.pixels for f in images if isinstance(f, StandardImage)])
    wanted = open_engine(job.spec).run(pixels.reshape(5, 224, 224)).logits
    assert wanted is not None

    (tmp_path / "bare").mkdir()
    assert score_programs.score_part((0, job.images), job.spec, str(tmp_path / "bare")) == 5
    np.testing.assert_allclose(_logits(str(tmp_path / "bare")), wanted, atol=1e-5)
    (tmp_path / "whole").mkdir()
    scorer = score_programs.scorer_of(job)
    assert score_programs.whole_part((0, job.images), scorer, str(tmp_path / "whole")) == 5
    np.testing.assert_allclose(_logits(str(tmp_path / "whole")), wanted, atol=1e-5)
    found = Actor(job.engine)({"path": np.asarray(job.images)})
    assert found["uri"].tolist() == list(job.images)
    read = {"path": job.images, "bytes": [Path(uri).read_bytes() for uri in job.images]}
    np.testing.assert_array_equal(Actor(job.engine)(read)["logits"], found["logits"])

    (tmp_path / "plain").mkdir()
    plain = replace(job, out=str(tmp_path / "plain"))
    score_programs.torch_loop(plain, workers=0)
    # Pillow resizes in another way: near, and not the same.
    np.testing.assert_allclose(_logits(plain.out), wanted, atol=0.5)


def test_pytorchs_data_set_gives_the_image(job: Job) -> None:
    images = score_programs.ImagesDataset(job.images, 64)
    assert len(images) == 5
    first = images[0].numpy()
    whole = np.asarray(Image.open(job.images[0]).resize((64, 64), Image.Resampling.BILINEAR))
    assert np.array_equal(first, whole)
    assert np.abs(first.astype(int) - bare.lean_pixels(job.images[0], 64)).mean() < 8


@pytest.mark.spark
def test_a_smoke_run_writes_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The others take seconds to start: `python -m benchmarks score --small` runs them all.
    monkeypatch.setattr(score, "others", lambda: ["loader"])
    monkeypatch.setattr(score, "_cold", lambda _: {})
    options = replace(command.SMALL, out=tmp_path / "figures", score_images=(6, 12))
    target = common.publish(score.measure(options), options, "the command", common.facts())
    told = json.loads(target.read_text(encoding="utf-8"))
    programs = told["figures"]["speeds"]["squeezenet1_1"]
    assert set(programs["6"]) == {
        "bare: two processes, the engine, fp32",
        "two processes, all that a row of predictions has, fp32",
        "pulmospark predict, fp32",
        "its Spark job alone, fp32",
        "DataLoader, 2 workers, PyTorch fp32, Pillow",
    }
    assert len(programs["12"]) == 4
    assert all(one["per_second"] > 0 for by in programs.values() for one in by.values())
    assert any("flat within 5 %" in note for note in told["notes"])
    assert [path.name for path in options.out.iterdir()] == [target.name]
