"""The training images that look most like an image: by the correlation of small copies.

Not by the network's features: those would show what the network takes as similar, and this shows
whether it has seen such an image at all, for every kind of training and without running it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels, Singles
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.data.ingest.pixels import pixels_of_some
from pulmospark.experiment.run_folder import RunFolder

_SIDE = 32
METHOD = f"correlation of the images' grey levels at {_SIDE} x {_SIDE} pixels"


@dataclass(frozen=True)
class NearestImages:
    """Training images of one model, to search in."""

    rows: pa.Table
    """of the cohort, those that are searched"""
    small: Singles
    """(n, 1024) float32, each with mean 0 and length 1"""
    of: int
    """training images of the model; above ``len(rows)``, every n-th is searched"""

    def nearest(self, pixels: Pixels, count: int) -> list[tuple[int, float]]:
        """Rows of the most similar images and their correlation, -1 to 1, highest first.

        Args:
            pixels: the image, uint8 (size, size).
            count: how many.
        """
        similarity = self.small @ _normalised(pixels)
        order = np.argsort(-similarity, kind="stable")[:count]
        return [(int(row), float(similarity[row])) for row in order]


def nearest_images(run: RunFolder, fold: int | None) -> NearestImages:
    """The training images of a run's model, at most ``limits.NEAREST_IMAGES_MAX`` of them.

    Args:
        run: the run.
        fold: of the model; ``None``: the one split's.
    """
    cohort = read_cohort(run.cohort)
    training = cohort.filter(pa.array(in_part(cohort, Part(Split.TRAIN, fold))))
    step = max(1, -(-training.num_rows // limits.NEAREST_IMAGES_MAX))
    searched = training.take(np.arange(0, training.num_rows, step))
    places = {uri: row for row, uri in enumerate(searched["uri"].to_pylist())}
    small = np.zeros((len(places), _SIDE * _SIDE), np.float32)
    for uri, pixels in pixels_of_some(run.tables / "images", set(places)):
        small[places[uri]] = _normalised(pixels)
    return NearestImages(searched, small, training.num_rows)


def _normalised(pixels: Pixels) -> Singles:
    """Mean 0, length 1; zeros for an image of one grey level."""
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    values: Singles = small.astype(np.float32).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    if length:
        values /= length
    return values
