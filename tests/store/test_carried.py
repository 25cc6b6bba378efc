"""Files that workers without the driver's disk are given, and parts that come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from pulmospark.chunks import chunks_of, run_chunks, write_part
from pulmospark.chunks.carried import Carrier, Carry
from pulmospark.chunks.local import ThisProcess
from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.core import limits
from pulmospark.core.machine import cache_folder
from pulmospark.core.progress import Progress
from pulmospark.store import folders
from pulmospark.store.folders import FETCHED, file_here, folder_here
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders._fetched.cache_clear()


class _Elsewhere(ThisProcess):
    """Runs chunks in this process as though it were on another machine."""

    is_here = False

    def __init__(self, store: SharedStore) -> None:
        super().__init__()
        self._store = store

    def seen(self, folder: Path) -> Place:
        return self._store.place(folder)


@dataclass(frozen=True)
class _Adding:
    """Adds the number in a file to each row."""

    file: str
    columns: Sequence[str] | None = None

    def carried(self, carry: Carry) -> _Adding:
        return replace(self, file=carry(self.file))

    def key(self, chunk: pa.Table) -> str:
        return f"key-{chunk['n'][0].as_py()}"

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        assert is_store_uri(self.file), "a path of the driver's"
        number = int(file_here(self.file).read_text())
        return {"sums": pa.table({"n": [n + number for n in chunk["n"].to_pylist()]})}


def test_a_job_sees_no_path_of_the_driver_and_its_parts_come_back(
    bucket: StoreUri, tmp_path: Path
) -> None:
    store = SharedStore(tmp_path / "run", bucket / "runs/mine")
    work = tmp_path / "run/.stage.work"
    work.mkdir(parents=True)
    (tmp_path / "number").write_text("100")
    numbers = list(range(limits.ROW_GROUP_ROWS + 5))
    listed = pa.table({"n": numbers, "name": [str(number) for number in numbers]})
    write_part(listed, work / "list.parquet")
    todo = chunks_of([work / "list.parquet"])
    assert len(todo) == 2
    executor, adding = _Elsewhere(store), _Adding(str(tmp_path / "number"))
    quiet = Progress("test", 0, quiet=True)
    parts = run_chunks(executor, adding, todo, work / "sums", quiet)
    assert [part.path for part in parts] == [
        work / f"sums/sums-key-{first}.parquet" for first in (0, limits.ROW_GROUP_ROWS)
    ]
    here = run_chunks(
        ThisProcess(), replace(adding, file=_put(bucket, "100")), todo, tmp_path / "x", quiet
    )
    for part, same in zip(parts, here, strict=True):
        assert part.path.name == same.path.name
        assert part.path.read_bytes() == same.path.read_bytes()

    stayed = run_chunks(executor, adding, todo, work / "more", quiet, stay=True)
    for part in stayed:
        assert isinstance(part.place, StoreUri)
        assert str(part.place).startswith(f"{bucket}runs/mine/_work/.stage.work/more/parts/sums/")
    published = run_chunks(
        executor, adding, todo, work / "third", quiet, tables=store.published(tmp_path / "run/t")
    )
    assert all(str(p.place).startswith(f"{bucket}runs/mine/t/sums/") for p in published)


def _put(bucket: StoreUri, text: str) -> str:
    open_store(bucket).put("number", text.encode())
    return f"{bucket}number"


def test_another_content_has_another_address(bucket: StoreUri, tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    for name in ("engine.json", "model.bin", "compiled-here"):
        (tmp_path / "engine" / name).write_text(name)
    first = Carrier(bucket / "carried")(str(tmp_path / "engine"))
    assert Carrier(bucket / "carried")(str(tmp_path / "engine")) == first
    assert Carrier(bucket / "carried")(first) == first
    fetched = folder_here(first)
    assert sorted(path.name for path in fetched.iterdir()) == ["engine.json", "model.bin"]
    (tmp_path / "engine/model.bin").write_text("another network")
    second = Carrier(bucket / "carried")(str(tmp_path / "engine"))
    assert second != first
    assert (folder_here(second) / "model.bin").read_text() == "another network"
    assert (folder_here(first) / "model.bin").read_text() == "model.bin"


def test_a_fetched_file_is_fetched_again_once_the_cache_forgot_it(
    bucket: StoreUri, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("rows")
    address = Carrier(bucket / "carried")(str(tmp_path / "list"))
    kept = file_here(address)
    assert kept == file_here(address)
    assert kept.is_relative_to(cache_folder() / FETCHED)
    kept.unlink()
    kept.parent.rmdir()
    assert file_here(address).read_text() == "rows"
    assert len(list((cache_folder() / FETCHED).iterdir())) <= limits.STORE_FETCHED_MAX
    assert parse_uri(address).name == "list"
