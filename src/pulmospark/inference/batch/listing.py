"""What a prediction has to score: its inputs as lists of files and chunks of images tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.core.progress import Progress
from pulmospark.inference.batch.inputs import Inputs, list_inputs
from pulmospark.inference.batch.scored_before import ScoredBefore
from pulmospark.layouts.base import ListingNotes


@dataclass(frozen=True)
class Listed:
    """Files and rows to be scored.

    Attributes:
        files: lists of files (``core.schemas.MANIFEST``), one or none.
        of_images: chunks of images tables.
        already: files and rows that were scored before, and are in neither.
    """

    files: list[Path]
    of_images: list[chunks.Chunk]
    already: int = 0

    @property
    def seen(self) -> int:
        """Rows of the lists of files."""
        return sum(pq.read_metadata(path).num_rows for path in self.files)

    @property
    def total(self) -> int:
        """Files and rows."""
        return self.seen + sum(chunk.rows for chunk in self.of_images)


def list_unscored(
    inputs: Inputs, folder: Path, notes: ListingNotes, before: ScoredBefore | None, *, quiet: bool
) -> Listed:
    """List the inputs of a prediction.

    Args:
        inputs: of the prediction.
        folder: for the lists of files.
        notes: receives anything unusual.
        before: what was scored before, and is not listed; ``None``: nothing.
        quiet: show no progress.

    Raises:
        InputError: a folder or table cannot be read, or there is no image file.
        UsageError: the layout is unknown.
    """
    manifest, seen = folder / "manifest.parquet", 0
    if inputs.has_files:
        with Progress("list files", 0, "files", quiet=quiet) as progress:
            seen = list_inputs(inputs, manifest, notes, progress)
            progress.to(seen)
    everything = Listed([manifest] if seen else [], chunks.chunks_of(inputs.images))
    if before is None:
        return everything
    files = [path for m in everything.files for path in before.unscored(m, folder / "new.parquet")]
    new = Listed(files, before.unscored_chunks(everything.of_images))
    return Listed(new.files, new.of_images, everything.total - new.total)
