"""Fingerprints for comparing images, computed once from the images table on the executors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from pulmospark import chunks
from pulmospark.core import hashing, schemas
from pulmospark.core.arrays import Pixels
from pulmospark.core.progress import Progress
from pulmospark.imaging.standardise import perceptual_hash, resized

LOOKS_VERSION = 1
"""Raised whenever the same image gets other fingerprints: old parts are then unused."""

SMALL_SIDE = 112
"""pixels: side of the thumbnail for overlaying images"""

_MARGINS: tuple[tuple[float, float, float, float], ...] = (
    (0.0, 0.0, 0.0, 0.0),
    (0.05, 0.05, 0.05, 0.05), (0.1, 0.1, 0.1, 0.1), (0.15, 0.15, 0.15, 0.15),
    (0.0, 0.0, 0.0, 0.1), (0.0, 0.1, 0.0, 0.0), (0.0, 0.2, 0.0, 0.0), (0.0, 0.0, 0.0, 0.2),
    (0.1, 0.0, 0.1, 0.0), (0.15, 0.0, 0.15, 0.0), (0.1, 0.0, 0.0, 0.0), (0.0, 0.0, 0.1, 0.0),
    (0.1, 0.0, 0.1, 0.1), (0.1, 0.1, 0.1, 0.0), (0.05, 0.1, 0.05, 0.0), (0.05, 0.0, 0.05, 0.1),
    (0.1, 0.2, 0.1, 0.0), (0.1, 0.0, 0.1, 0.2), (0.2, 0.1, 0.2, 0.1),
)  # fmt: skip
"""left, top, right and bottom margins removed before hashing, as shares of the sides: none first,
then crops that a copy may have"""

HASHES = len(_MARGINS)
"""hashes per image, the first of the whole"""

_BORDER = 0.03
_DARK_MIN, _DARK_SHARE, _BRIGHT_ALONG = 12, 0.12, 0.35


@dataclass(frozen=True)
class LookWork:
    """From images of the images table to their fingerprints."""

    columns: Sequence[str] = ("image_id", "uri", "pixels")

    def key(self, chunk: pa.Table) -> str:
        """The images; an image's id and number of pixels identify its pixels."""
        sizes = [len(pixels.as_buffer()) for pixels in chunk["pixels"]]
        ids = [chunk["image_id"].to_pylist(), chunk["uri"].to_pylist()]
        return hashing.value_id(["looks", LOOKS_VERSION, *ids, sizes])

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``looks``."""
        rows = []
        for uri, pixels in zip(chunk["uri"].to_pylist(), chunk["pixels"], strict=True):
            flat = np.frombuffer(pixels.as_buffer(), np.uint8)
            side = int(flat.size**0.5)
            image = flat.reshape(side, side)
            rows.append(
                {
                    "uri": uri,
                    "mean": float(image.mean()),
                    "border_mean": border_mean(image),
                    "hashes": hashes_of(image),
                    "small": resized(image, SMALL_SIDE, SMALL_SIDE).tobytes(),
                }
            )
        return {"looks": pa.Table.from_pylist(rows, schema=schemas.LOOKS)}


def border_mean(image: Pixels) -> float:
    """Mean grey level of the outer 3 % of an (h, w) image on each side."""
    wide = max(1, round(_BORDER * image.shape[0]))
    inner = image[wide:-wide, wide:-wide]
    return float((image.sum(dtype=np.float64) - inner.sum()) / (image.size - inner.size))


def hashes_of(image: Pixels) -> list[int]:
    """Perceptual hash of an (h, w) image without its dark margins, and of each of its crops.

    Grey levels are equalised, so that another window or gamma gives the same hash.
    """
    body = without_margins(image)
    height, width = body.shape
    return [
        perceptual_hash(
            cv2.equalizeHist(
                np.ascontiguousarray(
                    body[
                        round(top * height) : height - round(bottom * height),
                        round(left * width) : width - round(right * width),
                    ]
                )
            )
        )
        for left, top, right, bottom in _MARGINS
    ]


def without_margins(image: Pixels) -> Pixels:
    """An (h, w) image without the rows and columns at its edges that are almost entirely dark."""
    soft = cv2.GaussianBlur(image, (0, 0), 2)
    bright = soft > max(_DARK_MIN, _DARK_SHARE * float(np.percentile(soft, 95)))
    rows = np.flatnonzero(bright.mean(axis=1) > _BRIGHT_ALONG)
    columns = np.flatnonzero(bright.mean(axis=0) > _BRIGHT_ALONG)
    least = image.shape[0] // 4
    if rows.size < least or columns.size < least:
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def make_looks(
    images: Path, folder: Path, executor: chunks.Executor, *, quiet: bool
) -> list[chunks.Part]:
    """Fingerprints of every image of an images table; existing parts are kept.

    Args:
        images: the images table.
        folder: for the parts.
        executor: runs the tasks.
        quiet: show no progress.
    """
    todo = chunks.chunks_of(chunks.parts_of(images))
    count = sum(chunk.rows for chunk in todo)
    with Progress("fingerprint", count, "images", quiet=quiet) as progress:
        return chunks.run_chunks(executor, LookWork(), todo, folder, progress)
