"""How far a batch job is, from the parts that it has written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.inference.batch.work_place import PARTS, work_of


class JobProgress:
    """Counts rows of parts; each part is looked at once."""

    def __init__(self) -> None:
        self._rows: dict[Path, int] = {}

    def of(self, folder: Path, *, is_done: bool) -> tuple[int, int]:
        """Images and rejects so far, and files in all (0: not listed yet).

        Args:
            folder: of the job.
            is_done: the job has ended well, and its work folder is gone.
        """
        if is_done:
            return 0, 0
        work = work_of(folder / "output")
        manifest = work / "manifest.parquet"
        total = self._count(manifest) if manifest.is_file() else 0
        parts = work / PARTS
        names = sorted(parts.glob("*.parquet")) if parts.is_dir() else []
        return sum(map(self._count, names)), total

    def _count(self, path: Path) -> int:
        if path not in self._rows:
            try:
                self._rows[path] = pq.read_metadata(path).num_rows
            except (OSError, pa.ArrowInvalid):  # it is gone, or being written
                return 0
        return self._rows[path]
