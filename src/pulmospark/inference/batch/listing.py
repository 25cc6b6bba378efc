"""What a prediction that is added to an output has to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pulmospark import chunks
from pulmospark.chunks.parquet_files import Place, open_parquet
from pulmospark.chunks.work_list import States

if TYPE_CHECKING:
    from pulmospark.inference.batch.scored_before import ScoredBefore


@dataclass(frozen=True)
class Todo:
    """Files and rows to be scored.

    Attributes:
        lists: lists of files (``core.schemas.MANIFEST``).
        of_images: chunks of images tables.
        already: files and rows that were scored before, and are in neither.
        states: of the lists in a store, which nobody has to ask for.
    """

    lists: list[Place]
    of_images: list[chunks.Chunk]
    already: int = 0
    states: States = field(default_factory=dict)

    @property
    def files(self) -> int:
        """Rows of the lists of files."""
        count = 0
        for place in self.lists:
            with open_parquet(place, state=self.states.get(str(place))) as file:
                count += file.metadata.num_rows
        return count

    @property
    def total(self) -> int:
        """Files and rows."""
        return self.files + sum(chunk.rows for chunk in self.of_images)


def todo_of(
    lists: Sequence[Place],
    images: Sequence[Path],
    before: ScoredBefore | None,
    folder: Path,
    states: States | None = None,
) -> Todo:
    """What a prediction has to score.

    Args:
        lists: of files.
        images: Parquet files of images tables.
        before: what was scored before; ``None``: nothing.
        folder: for shorter lists.
        states: of lists in a store, where they are known.
    """
    everything = Todo(list(lists), chunks.chunks_of(images), states=states or {})
    if before is None:
        return everything
    new = Todo(
        [
            place
            for number, listed in enumerate(lists)
            for place in before.unscored(listed, folder / f"new-{number}.parquet")
        ],
        before.unscored_chunks(everything.of_images),
    )
    return Todo(new.lists, new.of_images, everything.total - new.total)
