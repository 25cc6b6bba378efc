"""Conversion of DataFrame cells to standard images, on the workers.

Pure functions of plain values, independent of Spark and torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.greyscale import on_black
from pulmospark.imaging.image import StandardImage, image_from_bytes, standard_image
from pulmospark.imaging.reject import RefusedError, check_size
from pulmospark.imaging.rejection import Rejected, rejected
from pulmospark.imaging.standardise import standardise
from pulmospark.inference.batch.cautions import facts_of

Kind = Literal["bytes", "image", "pixels"]
Invalid = Literal["error", "skip", "keep"]

CHANNELS = {0: 1, 16: 3, 24: 4}
"""OpenCV types of Spark's image schema (CV_8UC1, CV_8UC3, CV_8UC4) -> channels, order BGR(A)"""


_PHANTOM_DETAIL = (
    "the model was trained on phantoms, but the file's comment does not mark a phantom: set "
    "allowPhantomModel to score it anyway"
)


class ImagesRead(NamedTuple):
    """Images read from some rows."""

    pixels: Pixels
    """standard images, uint8 (m, size, size)"""
    places: list[int]
    """of their rows"""
    facts: list[dict[str, Any]]
    """of each, from ``inference.batch.cautions.facts_of``; empty where a cell is not a file"""


@dataclass(frozen=True)
class ImageReader:
    """How the cells of the input column become standard images.

    Attributes:
        kind: what a cell holds: ``bytes`` of a file, Spark's ``image``, or ``pixels`` of a
            standard image (side x side uint8 grey, row-major).
        settings: of the standard image, from the bundle if there is one; ``pixels`` are already
            standard images and only resized if their side differs.
        invalid: what to do with a cell that is not an image.
        phantoms_only: reject images that are not phantoms.
    """

    kind: Kind
    settings: IngestSettings
    invalid: Invalid
    phantoms_only: bool = False

    @property
    def size(self) -> int:
        """Side of the standard image, pixels."""
        return self.settings.size

    def read(self, cells: Sequence[Sequence[Any]]) -> ImagesRead:
        """Read rows.

        Args:
            cells: one sequence per row: the row's name (a path, or ``None``), then the data,
                and for ``image`` height, width, channels and mode.

        Raises:
            InputError: a row is not an image, and ``invalid`` is ``error``.
        """
        images, places, facts = [], [], []
        for place, (name, *values) in enumerate(cells):
            image = self._image(values)
            if isinstance(image, Rejected):
                if self.invalid == "error":
                    raise InputError(
                        f"{name or 'a row without a path'}: {image.reason.value}: {image.detail}; "
                        "set handleInvalid to 'skip' or 'keep' to continue without it"
                    )
                continue
            if isinstance(image, StandardImage):
                facts.append(facts_of(image))
                images.append(image.pixels)
            else:
                facts.append({})
                images.append(image)
            places.append(place)
        empty = np.empty((0, self.size, self.size), np.uint8)
        return ImagesRead(np.stack(images) if images else empty, places, facts)

    def _image(self, values: Sequence[Any]) -> StandardImage | Pixels | Rejected:
        if values[0] is None:
            return rejected(RejectReason.EMPTY, "the cell is null")
        if self.kind == "pixels":
            return image_of_pixels(values[0], self.size)
        if self.kind == "image":
            return image_of_struct(values, self.settings)
        image = image_from_bytes(values[0], self.settings)
        if self.phantoms_only and isinstance(image, StandardImage) and not image.phantom:
            return rejected(RejectReason.NOT_A_PHANTOM, _PHANTOM_DETAIL)
        return image


def image_of_pixels(data: bytes, size: int) -> Pixels | Rejected:
    """A (size, size) standard image from a table's ``pixels``; another side is resized."""
    side = math.isqrt(len(data))
    if side * side != len(data) or side < limits.STANDARD_SIZE_MIN:
        return rejected(
            RejectReason.UNREADABLE,
            f"{len(data)} bytes are not a square of at least {limits.STANDARD_SIZE_MIN} pixels "
            "per side; for bytes of a file set inputKind to 'bytes'",
        )
    grey = np.frombuffer(data, np.uint8).reshape(side, side)
    return grey if side == size else standardise(grey, size, "stretch")


def image_of_struct(values: Sequence[Any], settings: IngestSettings) -> Pixels | Rejected:
    """The standard image, (size, size), of a value of Spark's image schema.

    Args:
        values: data, height, width, number of channels, OpenCV type.
        settings: of the standard image.
    """
    data = values[0]
    # If a row of the batch is null, pandas returns the whole column as float.
    height, width, channels, mode = (int(value) for value in values[1:])
    if CHANNELS.get(mode) != channels:
        return rejected(
            RejectReason.UNSUPPORTED_FORMAT,
            f"OpenCV type {mode} with {channels} channels: only CV_8UC1, CV_8UC3 and CV_8UC4 are "
            "supported",
        )
    try:
        check_size(height, width)
    except RefusedError as refusal:
        return rejected(refusal.reason, refusal.detail)
    if len(data) != (wanted := height * width * channels):
        return rejected(
            RejectReason.TRUNCATED,
            f"{len(data)} bytes, but {width} x {height} x {channels} channels need {wanted}",
        )
    array = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    return standard_image(_grey(array), settings)


def _grey(array: Pixels) -> Pixels:
    if array.shape[2] == 1:
        return array[..., 0]
    luma: Pixels = cv2.cvtColor(array[..., :3], cv2.COLOR_BGR2GRAY)
    return luma if array.shape[2] == 3 else on_black(luma, np.ascontiguousarray(array[..., 3]))
