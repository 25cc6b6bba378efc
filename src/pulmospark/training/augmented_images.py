"""Augmented images in training: where they are read, and validation of the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pulmospark.config.train import TrainSettings
from pulmospark.core.errors import InputError, UsageError
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.data.expand.table import TABLE, check_expanded, read_expanded
from pulmospark.inference.engine.tasks import FeatureWork


def expanded_of(settings: TrainSettings, tables: Path) -> Path | None:
    """Folder of the expanded table to train on; ``None`` if there is none.

    Args:
        settings: of the training.
        tables: folder that ingest wrote; the run's expanded table is next to it.
    """
    if not settings.expanded:
        return None
    return settings.expanded_path or tables.parent / "expanded"


def training_images(expanded: Path | None, images: Path, cohort: Path) -> tuple[Path, Path]:
    """Images table and cohort of the training set only.

    An expanded table is both: each of its rows has the cohort's columns. Validation and test
    sets are always read from the images table.

    Args:
        expanded: folder of the expansion; ``None``: no expansion.
        images: the images table.
        cohort: folder of the cohort.
    """
    return (images, cohort) if expanded is None else (expanded / TABLE, expanded)


def check_augmentation(
    settings: TrainSettings, expanded: Path | None, cohort: Path, split: SplitResult
) -> None:
    """Refuse augmentation that the training cannot or must not use.

    Args:
        settings: of the training.
        expanded: folder of the expansion.
        cohort: folder of the cohort.
        split: its result.

    Raises:
        UsageError: augmentation was requested for a method that sees each image once.
        InputError: there is no expanded table, or it belongs to another cohort.
    """
    if settings.augment is not None and settings.method == "features":
        raise UsageError(
            "train.augment needs several epochs, but train.method = features sees each image "
            "once: use `pulmospark expand` and train.expanded, or method = network"
        )
    if expanded is None:
        return
    if read_expanded(expanded).cohort_id != split.cohort_id:
        raise InputError(f"{expanded}: built from another cohort: rerun `pulmospark expand`")
    check_expanded(expanded, cohort)


@dataclass(frozen=True)
class ChildFeatureWork(FeatureWork):
    """Deep features of the augmented copies in an expanded table."""

    columns: Sequence[str] = ("image_id", "uri", "draw", "pixels")

    def key(self, chunk: pa.Table) -> str:
        """The network and the augmented copies."""
        return super().key(_copies(chunk))

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``features``."""
        copies = _copies(chunk)
        return super().__call__(copies) if copies.num_rows else {}


def _copies(chunk: pa.Table) -> pa.Table:
    return chunk.filter(pc.greater(chunk["draw"], 0))
