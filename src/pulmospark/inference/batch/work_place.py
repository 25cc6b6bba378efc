"""Where a prediction works until its output is published: next to it, or below its address."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.shared_store import WORK
from pulmospark.core import files, lake_limits
from pulmospark.core.atomic_folders import sweep_inside
from pulmospark.core.hashing import value_id
from pulmospark.core.locks import hold_lock
from pulmospark.inference.batch.tasks import Scorer
from pulmospark.inference.explain.files import FOLDER as HEAT_FOLDER
from pulmospark.store.lease import Lease, Lock, hold_lease
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

PARTS = "parts"
"""subfolder of the work folder with finished parts"""
TO_MERGE = "to-merge"
"""the same of parts in a store that are merged when they are published"""


@dataclass(frozen=True)
class WorkPlace:
    """Where a prediction works.

    Attributes:
        here: folder on this machine; only what does not grow with the images lies there if the
            output is in a store.
        address: of the output in a store; ``None``: it is on a disk.
        lease: on the address.
    """

    here: Path
    address: StoreUri | None = None
    lease: Lease[Lock] | None = None

    @property
    def shared(self) -> Place:
        """What workers see of it."""
        return self.here if self.address is None else self.address / WORK

    @property
    def listing(self) -> Place:
        """For the list of files."""
        return self.here / "manifest.parquet" if self.address is None else self.shared / "list"

    @property
    def parts(self) -> dict[Place, StoreUri | None]:
        """Each folder for parts -> the address below which its parts are those of the tables.

        In a store those of few chunks are; those of many lie in the folder until they are merged.
        """
        if self.address is None:
            return {self.here / PARTS: None}
        return {self.shared / PARTS: self.address, self.shared / TO_MERGE: None}

    def parts_of(self, chunks: int) -> tuple[Place, StoreUri | None]:
        """Those of so many chunks, from :attr:`parts`."""
        few, *many = self.parts.items()
        return many[0] if many and chunks >= lake_limits.STORED_PARTS_MIN else few

    def heat_maps(self, scorer: Scorer) -> Place:
        """For heat maps; on a disk another network's are in another folder."""
        if self.address is not None:
            return self.address / HEAT_FOLDER
        return self.here / HEAT_FOLDER / value_id(scorer.key())


def work_of(target: Path) -> Path:
    """Folder next to an output on a disk in which a prediction works."""
    return target.with_name(f".{target.name}.work")


@contextlib.contextmanager
def work_place(target: Path | None, address: StoreUri | None) -> Iterator[WorkPlace]:
    """Kept after an error, so that the next run can resume; removed at the end.

    Args:
        target: folder of the output; ``None``: nothing is written to a disk.
        address: of the output in a store.

    Raises:
        UsageError: another process works there.
    """
    if address is not None:
        with (
            tempfile.TemporaryDirectory(prefix="pulmospark-") as name,
            hold_lease(address / f"{WORK}/lease") as lease,
        ):
            try:
                yield WorkPlace(Path(name), address, lease)
            except BaseException:
                store = open_store(address)
                done = [(address / WORK / name / "done").prefix for name in (PARTS, TO_MERGE)]
                if all(next(store.list(prefix), None) is None for prefix in done):
                    store.delete_below((address / WORK).prefix)
                raise
            open_store(address).delete_below((address / WORK).prefix)
        return
    if target is None:
        with tempfile.TemporaryDirectory(prefix="pulmospark-") as name:
            yield WorkPlace(Path(name))
        return
    with _folder_next_to(target) as work:
        yield WorkPlace(work)


@contextlib.contextmanager
def _folder_next_to(target: Path) -> Iterator[Path]:
    work = work_of(target)
    with files.disk_errors(target):
        work.mkdir(parents=True, exist_ok=True)
    with hold_lock(work / "lock", target, writer="prediction", needed=False):
        sweep_inside(work)
        try:
            yield work
        except BaseException:
            if not (work / PARTS).is_dir():  # nothing for a next run to reuse
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)
