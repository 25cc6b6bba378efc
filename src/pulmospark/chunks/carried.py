"""Bring what a job reads to workers that share only a store, and what it wrote back to the driver.

Plain values travel with the task. Files (a network's, a list of images, hashes) are put next to
the work folder, under names that change with their content, and each worker machine keeps them in
its cache (``store.folders.file_here`` and ``folder_here``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from pulmospark.chunks.parquet_files import state_of
from pulmospark.chunks.parts import Part
from pulmospark.chunks.task import Work
from pulmospark.chunks.work_list import Chunk
from pulmospark.core import files
from pulmospark.core.hashing import value_id
from pulmospark.store.folders import put_files, upload
from pulmospark.store.store import in_parallel, open_store
from pulmospark.store.uri import StoreUri, is_store_uri

Carry = Callable[[str], str]
"""path of a file or small folder of the driver's -> its address for the workers"""
_THIS_PROCESSOR = "compiled-"
"""begins the names of what OpenVINO compiled here; each worker compiles for its own processor"""


@runtime_checkable
class Carrying(Work, Protocol):
    """Work that reads files of the driver's."""

    def carried(self, carry: Carry) -> Work:
        """The same work, with the files where workers find them."""
        ...


@dataclass
class Carrier:
    """Puts files into a folder of a store, each once.

    Attributes:
        folder: in the store.
    """

    folder: StoreUri
    _put: dict[str, str] = field(default_factory=dict)

    def __call__(self, path: str) -> str:
        """Put a file or a small folder; its address.

        Raises:
            OSError: it cannot be read.
            SourceUnavailableError: the store fails.
        """
        if is_store_uri(path):
            return path
        if path not in self._put:
            self._put[path] = str(self._carry(Path(path)))
        return self._put[path]

    def _carry(self, path: Path) -> StoreUri:
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        # Another content has another address: workers keep what they have fetched from one.
        facts = [(str(p), *state_of(p)) for p in inside]
        uri = self.folder / value_id(facts)[:32] / path.name
        if path.is_dir():
            put_files(path, uri, but=_THIS_PROCESSOR)
        else:
            upload(uri, [(path, uri.key)])
        return uri


def carried(work: Work, chunks: Sequence[Chunk], folder: StoreUri) -> tuple[Work, list[Chunk]]:
    """Work and chunks without a path of the driver's.

    Args:
        work: what is done.
        chunks: what it is done on; lists of the driver's among them are put as well.
        folder: the work folder.

    Raises:
        SourceUnavailableError: the store fails.
    """
    carry = Carrier(folder / "carried")
    there = [replace(chunk, path=carry(chunk.path)) for chunk in chunks]
    return (work.carried(carry) if isinstance(work, Carrying) else work), there


def brought(parts: Sequence[Part], folder: Path, tag: str) -> list[Part]:
    """Parts of a work folder in a store, copied to this machine; those that are here stay.

    Args:
        parts: in the store.
        folder: of the copies, which have the names that parts on a disk have.
        tag: that the names of parts in the store end with.

    Raises:
        SourceUnavailableError: the store fails.
        PlatformError: no space, or no right to write there.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def bring(part: Part) -> Part:
        assert isinstance(part.place, StoreUri), part
        name = part.place.name.removesuffix(f"-{tag}.parquet")
        target = folder / f"{name}.parquet"
        if not target.is_file():
            with files.whole_file(target) as aside:
                open_store(part.place).save(part.place.key, aside)
        return replace(part, place=target)

    with files.disk_errors(folder):
        return in_parallel(bring, parts)
