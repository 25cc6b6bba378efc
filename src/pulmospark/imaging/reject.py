"""How the decoders refuse a file, and the checks that they share."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pulmospark.core import limits
from pulmospark.core.tables import RejectReason

_ORIENTATION_TAG: Final = 274


class Refused(Exception):  # not of core's tree: it never leaves this package
    """A decoder refuses the file.

    Args:
        reason: the closed list's word for it.
        detail: what was found, and the limit.
    """

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def check_size(height: int, width: int, least_side: int = limits.IMAGE_SIDE_MIN) -> None:
    """Refuse a size that is over or under the limits, as the header declares it.

    Raises:
        Refused: too many pixels, or too few.
    """
    if height * width > limits.IMAGE_PIXELS_MAX:
        raise Refused(
            RejectReason.TOO_MANY_PIXELS,
            f"{width} x {height} pixels, over {limits.IMAGE_PIXELS_MAX}",
        )
    if min(height, width) < least_side:
        raise Refused(
            RejectReason.TOO_SMALL,
            f"{width} x {height} pixels, a side under {least_side}",
        )


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - a damaged EXIF block costs no film
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(grey: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror pixels upright, as the EXIF standard (tag 0x0112) orders."""
    if orientation >= 5:
        grey = grey.T
    # After the transposition of 5 to 8 the remaining mirrors differ.
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    return np.ascontiguousarray(grey)
