"""The deep features of a training run as one matrix on the driver, where it is small enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks.parquet_files import Place, open_parquet
from pulmospark.chunks.parts import read_parts
from pulmospark.config.train import LogisticSettings, Solver
from pulmospark.core import limits, schemas
from pulmospark.core.arrays import Ints, Singles
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import read_cohort
from pulmospark.data.expand.table import TABLE

_VALUE_BYTES = 4


@dataclass(frozen=True)
class Images:
    """The included images of a cohort, with their deep features, ordered by ``uri``.

    Augmented copies, if any, follow, in the split and fold of their parents.

    Attributes:
        rows: of the cohort, and of the copies.
        features: float32 (n, width).
        labels: int64 (n,).
        folds: int64 (n,), -1 without folds.
        splits: str (n,), names of a ``Split``.
    """

    rows: pa.Table
    features: Singles
    labels: Ints
    folds: Ints
    splits: npt.NDArray[np.str_]

    def rows_of(self, splits: Sequence[Split], fold: int | None) -> Ints:
        """Rows in some splits and outside a fold (``None``: any fold); (m,) int64, rising."""
        inside = np.isin(self.splits, [split.value for split in splits])
        return np.flatnonzero(inside if fold is None else inside & (self.folds != fold))


def matrix_bytes(images: int, width: int) -> int:
    """Memory that the deep features of images take."""
    return images * width * _VALUE_BYTES


def fits_the_driver(images: int, width: int) -> bool:
    """Whether a matrix is at most ``limits.FEATURE_MATRIX_BYTES_MAX``."""
    return matrix_bytes(images, width) <= limits.FEATURE_MATRIX_BYTES_MAX


def too_large(images: int, width: int) -> str:
    """Why a matrix does not fit the driver, with its size and the limit."""
    return (
        f"the {width:,} features of each of {images:,} images take "
        f"{matrix_bytes(images, width) / 2**20:,.0f} MiB, over "
        f"{limits.FEATURE_MATRIX_BYTES_MAX / 2**20:,.0f} MiB"
    )


def solver_of(settings: LogisticSettings, images: int, width: int) -> Solver:
    """Where the logistic regressions of a training run are fitted: "driver" or "mllib".

    Args:
        settings: of the regression.
        images: to train on, with their augmented copies.
        width: of the deep features.

    Raises:
        UsageError: the driver was asked for, and the features are too large for it.
    """
    if settings.solver == "driver" and not fits_the_driver(images, width):
        raise UsageError(
            f"train.logistic.solver is 'driver', but {too_large(images, width)}: use 'auto' or "
            "'mllib'"
        )
    if settings.solver != "auto":
        return settings.solver
    small = fits_the_driver(images, width) and not settings.elastic_net_param
    return "driver" if small else "mllib"


def read_images(
    cohort: Path,
    parts: Sequence[Place],
    classes: Sequence[str],
    *,
    expanded: Path | None = None,
) -> Images:
    """Read the deep features of a cohort's images into memory.

    Args:
        cohort: its folder.
        parts: of the features table, including those of the augmented copies.
        classes: names in the order of the labels.
        expanded: folder of the expansion whose copies are trained on; ``None``: none.

    Raises:
        InputError: an image has no features, or they are not finite.
    """
    rows = read_cohort(cohort)
    if expanded is not None:
        columns, copied = schemas.COHORT.names, [("draw", ">", 0)]
        copies = pq.read_table(expanded / TABLE, columns=columns, filters=copied)
        rows = pa.concat_tables([rows, copies.cast(schemas.COHORT).sort_by("uri")])
    index = {name: number for number, name in enumerate(classes)}
    return Images(
        rows,
        _features(rows["uri"].to_pylist(), parts),
        np.asarray([index[label] for label in rows["label"].to_pylist()], np.int64),
        np.asarray(rows["fold"].fill_null(-1).to_numpy(), np.int64),
        np.asarray(rows["split"].to_pylist(), np.str_),
    )


def _features(uris: Sequence[str], parts: Sequence[Place]) -> Singles:
    with open_parquet(parts[0]) as file:
        width = len(file.read_row_group(0, columns=["features"])["features"][0])
    place = {uri: number for number, uri in enumerate(uris)}
    features = np.full((len(uris), width), np.nan, np.float32)
    for _, table in read_parts(parts, ["uri", "features"]):
        at = np.asarray([place.get(uri, -1) for uri in table["uri"].to_pylist()], np.int64)
        flat = table["features"].combine_chunks().flatten().to_numpy()
        features[at[at >= 0]] = flat.reshape(table.num_rows, width)[at >= 0]
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise InputError(
            f"{uris[bad[0]]}: its deep features are missing or not finite, as are those of "
            f"{bad.size - 1:,} other images: check the network's weights, and rerun "
            "`pulmospark train`"
        )
    return features
