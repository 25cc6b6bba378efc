"""The benchmark that kills a stream sees what is lost, what is there twice, what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from benchmarks.stream_places import Folders
from benchmarks.stream_process import Reader

from benchmarks import stream_kills
from pulmospark.chunks import write_part
from pulmospark.core import schemas
from pulmospark.core.files import write_json
from pulmospark.core.provenance import now_utc

_CLEAN = {"lost": 0, "twice": 0, "unknown": 0, "rejects_that_differ": 0, "other_answers": 0}


def _image(uri: str, image_id: str, chance: float = 0.75) -> dict[str, Any]:
    return {
        "uri": uri,
        "image_id": image_id,
        "prediction": "a" if chance >= 0.5 else "b",
        "probability": [chance, 1 - chance],
        "logits": [0.0, 0.0],
        "model_id": "m",
        "predicted_at": now_utc(),
    }


def _write(folder: Path, table: str, rows: list[dict[str, Any]]) -> None:
    (folder / table).mkdir(parents=True, exist_ok=True)
    part = pa.Table.from_pylist(rows, schema=getattr(schemas, table.upper()))
    write_part(part, folder / table / "part.parquet")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Two images, one of them twice, and a file that is none, scored by a batch run."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    for name in "abcd":
        (folder / name).write_bytes(b"")
    uris = {name: str(folder / name) for name in "abcd"}
    batch = [_image(uris["a"], "1"), _image(uris["b"], "1"), _image(uris["c"], "2", 0.25)]
    _write(tmp_path / "batch", "predictions", batch)
    _write(tmp_path / "batch", "rejects", [_reject(uris["d"])])
    write_json(tmp_path / "batch" / "predict.json", {"result": {"model_id": "m"}})
    return folder


def _reject(uri: str) -> dict[str, Any]:
    sizes = {"size_bytes": 0, "modified_ns": 0}
    return {"uri": uri, "source": "s", **sizes, "reason": "empty", "detail": "no bytes"}


def _streamed(
    inbox: Path, images: list[dict[str, Any]], *, repeats: str = "b", rejects: str = "d"
) -> dict[str, Any]:
    out = inbox.parent / "out"
    sizes = {"size_bytes": 0, "modified_ns": 0, "seen_at": now_utc()}
    _write(out, "predictions", images)
    _write(out, "rejects", [_reject(str(inbox / name)) for name in rejects])
    _write(out, "repeats", [{"uri": str(inbox / n), "image_id": "1", **sizes} for n in repeats])
    return stream_kills.compare(Folders(inbox.parent), inbox.parent / "batch")


def test_tables_that_agree_are_clean(inbox: Path) -> None:
    found = _streamed(inbox, [_image(str(inbox / "a"), "1"), _image(str(inbox / "c"), "2", 0.25)])
    assert found | _CLEAN == found
    assert (found["files_without_one_row"], found["largest_difference"]) == (0, 0)
    assert (found["files"], found["images"], found["rejects"], found["repeats"]) == (4, 2, 1, 1)


def test_what_is_wrong_is_counted(inbox: Path) -> None:
    a, c = str(inbox / "a"), str(inbox / "c")
    found = _streamed(inbox, [_image(a, "1"), _image(c, "1")], rejects="")
    assert (found["lost"], found["twice"], found["unknown"]) == (1, 1, 0)
    assert (found["rejects_that_differ"], found["files_without_one_row"]) == (1, 1)
    found = _streamed(inbox, [_image(a, "1"), _image(c, "2", 0.75)])
    assert (found["other_answers"], found["largest_difference"]) == (1, 0.5)
    found = _streamed(inbox, [_image(a, "1"), _image(c, "3")])
    assert (found["lost"], found["twice"], found["unknown"]) == (1, 0, 1)


def test_a_reader_reads_each_part_once(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    assert reader.look() == 0
    _write(tmp_path, "predictions", [_image("/a", "1")])
    (tmp_path / "predictions" / ".half.part").write_bytes(b"half")
    assert (reader.look(), list(reader.rows)) == (1, ["/a"])
    first = dict(reader.rows)
    assert (reader.look(), reader.rows) == (1, first)
