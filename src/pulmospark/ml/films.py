"""What a worker does with the rows of a DataFrame: from a cell to the standard image.

Pure functions of plain values; neither Spark nor torch is needed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.core.tables import RejectReason
from pulmospark.imaging.decode import Rejected, decode, rejected
from pulmospark.imaging.grey import on_black
from pulmospark.imaging.reject import Refused, check_size
from pulmospark.imaging.standardise import equalised, standardise

Kind = Literal["bytes", "image", "pixels"]
Resize = Literal["stretch", "pad", "crop"]
Invalid = Literal["error", "skip", "keep"]
Pixels = NDArray[np.uint8]

CHANNELS = {0: 1, 16: 3, 24: 4}
"""OpenCV types of Spark's image schema (CV_8UC1, CV_8UC3, CV_8UC4) -> channels, order BGR(A)"""


@dataclass(frozen=True)
class FilmReader:
    """How the cells of the input column become standard images.

    Attributes:
        kind: what a cell holds: ``bytes`` of a file, Spark's ``image``, or ``pixels`` of a
            standard image (side x side uint8 grey, row-major).
        size: side of the standard image, pixels.
        resize: how a film that is no square becomes one.
        invalid: what to do with a cell that is no film.
        equalise: each film's histogram is equalised; ``pixels`` are taken as they are.
    """

    kind: Kind
    size: int
    resize: Resize
    invalid: Invalid
    equalise: bool = False

    def read(self, cells: Sequence[Sequence[Any]]) -> tuple[Pixels, list[int]]:
        """Read rows.

        Args:
            cells: one sequence a row: the row's name (a path, or ``None``), then the data,
                and for ``image`` height, width, channels and mode.

        Returns:
            Standard images, uint8 (m, size, size), and the places of their rows.

        Raises:
            InputError: a row is no film, and ``invalid`` is ``error``.
        """
        films, places = [], []
        for place, (name, *values) in enumerate(cells):
            film = self._film(values)
            if isinstance(film, Rejected):
                if self.invalid == "error":
                    raise InputError(
                        f"{name or 'a row without a path'}: {film.reason.value}: {film.detail}; "
                        "set handleInvalid to 'skip' or 'keep' to go on without it"
                    )
                continue
            films.append(film)
            places.append(place)
        empty = np.empty((0, self.size, self.size), np.uint8)
        return (np.stack(films) if films else empty), places

    def _film(self, values: Sequence[Any]) -> Pixels | Rejected:
        if values[0] is None:
            return rejected(RejectReason.EMPTY, "the cell is null")
        if self.kind == "pixels":
            return film_of_pixels(values[0], self.size)
        if self.kind == "bytes":
            film = film_of_bytes(values[0], self.size, self.resize)
        else:
            film = film_of_image(values, self.size, self.resize)
        return film if isinstance(film, Rejected) or not self.equalise else equalised(film)


def film_of_bytes(data: bytes, size: int, resize: Resize) -> Pixels | Rejected:
    """The standard image of a file's bytes, as ingest makes it."""
    if len(data) > limits.FILE_BYTES_MAX:
        return rejected(
            RejectReason.TOO_MANY_BYTES, f"{len(data)} bytes, over {limits.FILE_BYTES_MAX}"
        )
    found = decode(data, at_least=size)
    if isinstance(found, Rejected):
        return found
    return standardise(found.grey, size, resize, found.extent)


def film_of_pixels(data: bytes, size: int) -> Pixels | Rejected:
    """A standard image from a table's ``pixels``; one of another side is resized."""
    side = math.isqrt(len(data))
    if side * side != len(data) or side < limits.STANDARD_SIZE_MIN:
        return rejected(
            RejectReason.UNREADABLE,
            f"{len(data)} bytes are no square of {limits.STANDARD_SIZE_MIN} or more pixels a "
            "side; for bytes of a file set inputKind to 'bytes'",
        )
    grey = np.frombuffer(data, np.uint8).reshape(side, side)
    return grey if side == size else standardise(grey, size, "stretch")


def film_of_image(values: Sequence[Any], size: int, resize: Resize) -> Pixels | Rejected:
    """The standard image of a value of Spark's image schema.

    Args:
        values: data, height, width, number of channels, OpenCV type.
        size: side of the standard image, pixels.
        resize: how it becomes a square.
    """
    data = values[0]
    # Where a row of the batch is null, pandas gives the whole column as float.
    height, width, channels, mode = (int(value) for value in values[1:])
    if CHANNELS.get(mode) != channels:
        return rejected(
            RejectReason.UNSUPPORTED_FORMAT,
            f"OpenCV type {mode} with {channels} channels: CV_8UC1, CV_8UC3 and CV_8UC4 are read",
        )
    try:
        check_size(height, width)
    except Refused as refusal:
        return rejected(refusal.reason, refusal.detail)
    if len(data) != (wanted := height * width * channels):
        return rejected(
            RejectReason.TRUNCATED,
            f"{len(data)} bytes, and {width} x {height} x {channels} channels need {wanted}",
        )
    array = np.frombuffer(data, np.uint8).reshape(height, width, channels)
    return standardise(_grey(array), size, resize)


def _grey(array: Pixels) -> Pixels:
    if array.shape[2] == 1:
        return array[..., 0]
    luma: Pixels = cv2.cvtColor(array[..., :3], cv2.COLOR_BGR2GRAY)
    return luma if array.shape[2] == 3 else on_black(luma, np.ascontiguousarray(array[..., 3]))
