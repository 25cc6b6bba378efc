"""What tasks of a stream do with their images, and what the driver makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyspark.sql.types import StructType

from pulmospark.config.ingest import IngestSettings
from pulmospark.config.stream import StreamSettings
from pulmospark.core import schemas
from pulmospark.inference.batch.predict import predict
from pulmospark.inference.stream.ledger import Arrival, StreamState
from pulmospark.inference.stream.plan import plan_stream
from pulmospark.inference.stream.query import put_back
from pulmospark.inference.stream.source import ImagesSource, SourceSpec, pieces_of
from pulmospark.inference.stream.tasks import CHANGED, StreamWork, from_bytes, to_bytes
from pulmospark.models.bundle.bundle import read_bundle


@pytest.fixture(scope="module")
def work(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> StreamWork:
    root = tmp_path_factory.mktemp("stream")
    (root / "images").mkdir()
    plan = plan_stream(bundle, str(root / "images"), root / "out", StreamSettings())
    return StreamWork("images", plan.scorer()[0], IngestSettings(size=64))


def _arrival(path: Path) -> Arrival:
    facts = path.stat()
    return Arrival(str(path), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@given(st.integers(0, 300), st.integers(1, 8))
def test_pieces_hold_every_file_once_and_fill_the_slots(count: int, slots: int) -> None:
    files = [Arrival(str(number), 0, 0, 0) for number in range(count)]
    pieces = pieces_of(files, slots)
    assert sorted(arrival.uri for piece in pieces for arrival in piece) == sorted(
        a.uri for a in files
    )
    assert len(pieces) >= (min(count, slots) or slots)
    sizes = [len(piece) for piece in pieces]
    assert max(sizes) - min(sizes) <= 1
    assert count == 0 or min(sizes) > 0


def test_the_spec_of_the_source_survives_serialisation(work: StreamWork) -> None:
    spec = SourceSpec("/state.sqlite", 2, work.to_json())
    assert SourceSpec.from_json(spec.to_json()) == spec
    assert StreamWork.from_json(spec.work) == work


def test_what_spark_imports_before_a_task_runs_is_light() -> None:
    heavy = "{'cv2', 'torch', 'openvino', 'pyarrow.parquet', 'pydantic'}"
    code = f"import sys, pulmospark.inference.stream.source; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_images_get_the_rows_that_predict_gives_them(
    work: StreamWork, bundle: Path, images: Path, tmp_path: Path
) -> None:
    names = ("a.png", "b.png", "d.png")
    files = [_arrival(images / name) for name in names]
    tables = {name: from_bytes(to_bytes(rows)) for name, rows in work.score(files)}
    assert set(tables) == {"predictions", "rejects"}
    assert tables["rejects"]["uri"].to_pylist() == [str(images / "d.png")]
    assert tables["predictions"].schema.equals(schemas.PREDICTIONS)
    predict(bundle, [str(images)], tmp_path / "out", None, quiet=True)
    whole = pa.parquet.read_table(tmp_path / "out" / "predictions").to_pylist()
    by_uri = {row["uri"]: row for row in whole}
    for row in tables["predictions"].to_pylist():
        other = by_uri[row["uri"]]
        assert row["probability"] == pytest.approx(other["probability"], abs=1e-4)
        for name in ("image_id", "prediction", "source", "model_id"):
            assert row[name] == other[name]


def test_the_reader_brings_entries_that_are_not_committed(
    work: StreamWork, images: Path, tmp_path: Path
) -> None:
    spec = SourceSpec(str(tmp_path / "state.sqlite"), 2, work.to_json())
    state = StreamState(Path(spec.state))
    source = ImagesSource({"spec": spec.to_json()})
    reader: Any = source.streamReader(StructType())
    assert reader.initialOffset() == {"entry": 0}
    first = state.plan([_arrival(images / "a.png")])
    second = state.plan([])
    state.commit(first, 0, [], [])
    assert reader.initialOffset() == {"entry": first}
    assert reader.latestOffset() == {"entry": second}
    pieces = reader.partitions({"entry": 0}, {"entry": second})
    assert len(pieces) == spec.slots  # nothing but the warming of each slot's worker
    (batch,) = reader.read(pieces[0])
    assert isinstance(batch, pa.RecordBatch)
    assert batch.to_pylist() == [{"entry": second, "name": "", "rows": None, "error": None}]
    reader.stop()
    state.close()


def _half(folder: Path) -> Path:
    """An image of which only the first half is there."""
    path = folder / "half.png"
    noise = np.random.default_rng(1).integers(0, 256, (90, 90), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_half_an_image_is_put_back_while_it_is_young_and_rejected_later(
    work: StreamWork, images: Path, tmp_path: Path
) -> None:
    files = [_arrival(images / "a.png"), _arrival(_half(tmp_path))]
    young = dict(work.score(files))
    assert put_back(young, files, lambda one: one == files[1]) == {files[1].uri}
    assert young["predictions"].num_rows == 1
    assert young["rejects"].num_rows == 0
    old = dict(work.score(files))
    assert put_back(old, files, lambda _: False) == set()
    assert old["rejects"]["reason"].to_pylist() == ["truncated"]


def test_what_will_never_be_an_image_is_rejected_at_once(work: StreamWork, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.new("L", (4, 4)).save(small)
    files = [_arrival(small)]
    scored = dict(work.score(files))
    assert put_back(scored, files, lambda _: True) == set()
    assert scored["rejects"]["reason"].to_pylist() == ["too_small"]


def test_a_file_that_changed_while_it_was_read_is_put_back(
    work: StreamWork, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (90, 90)).save(path)
    files = [_arrival(path)]
    os.utime(path, (time.time() + 5, time.time() + 5))
    scored = dict(work.score(files))
    assert scored[CHANGED]["uri"].to_pylist() == [str(path)]
    assert put_back(scored, files, lambda _: False) == {str(path)}
    assert scored["predictions"].num_rows == 0
    assert CHANGED not in scored


def test_the_bundle_is_the_one_that_scores(work: StreamWork, bundle: Path) -> None:
    assert work.scorer.model_id == read_bundle(bundle).model_id
