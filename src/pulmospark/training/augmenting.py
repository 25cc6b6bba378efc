"""Augmented films in a training: where they are read, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.settings import TrainSettings
from pulmospark.data.expanded import TABLE, check_expanded, read_expanded
from pulmospark.data.split_summary import SplitResult
from pulmospark.scoring.works import FeatureWork


def expanded_of(settings: TrainSettings, tables: Path) -> Path | None:
    """Folder of the expanded table that is trained on; ``None``: none is.

    Args:
        settings: of the training.
        tables: folder that ingest wrote; the run's own expansion lies beside it.
    """
    if not settings.expanded:
        return None
    return settings.expanded_path or tables.parent / "expanded"


def training_films(expanded: Path | None, images: Path, cohort: Path) -> tuple[Path, Path]:
    """Images table and cohort from which the training part, and it alone, is read.

    An expanded table is both: it has the cohort's columns for each of its rows. Validation
    and test are read from the images table in any case.

    Args:
        expanded: folder of the expansion; ``None``: none is trained on.
        images: the images table.
        cohort: folder of the cohort.
    """
    return (images, cohort) if expanded is None else (expanded / TABLE, expanded)


def check_augmentation(
    settings: TrainSettings, expanded: Path | None, cohort: Path, split: SplitResult
) -> None:
    """Refuse augmentation that the training could not use, or should not.

    Args:
        settings: of the training.
        expanded: folder of the expansion.
        cohort: folder of the cohort.
        split: what it says of itself.

    Raises:
        UsageError: the way to train sees each film once, and augmentation is asked for.
        InputError: there is no expanded table, or it was made of another cohort.
    """
    if settings.augment is not None and settings.method == "features":
        raise UsageError(
            "train.augment changes films anew in each epoch, and train.method = features sees "
            "each film once: use `pulmospark expand` and train.expanded, or method = network"
        )
    if expanded is None:
        return
    if read_expanded(expanded).cohort_id != split.cohort_id:
        raise InputError(f"{expanded}: made of another cohort: run `pulmospark expand` again")
    check_expanded(expanded, cohort)


@dataclass(frozen=True)
class ChildFeatureWork(FeatureWork):
    """Children of an expanded table to deep features; the films themselves have theirs."""

    columns: Sequence[str] = ("image_id", "uri", "draw", "pixels")

    def key(self, chunk: pa.Table) -> str:
        """The network and the children."""
        return super().key(_children(chunk))

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``features``."""
        children = _children(chunk)
        return super().__call__(children) if children.num_rows else {}


def _children(chunk: pa.Table) -> pa.Table:
    return chunk.filter(pc.greater(chunk["draw"], 0))
