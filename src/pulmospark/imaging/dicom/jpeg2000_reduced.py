"""JPEG 2000 at half, a quarter or an eighth of its resolution, without decoding the rest.

The wavelets of JPEG 2000 hold smaller images within the whole one. imagecodecs has no way to
ask OpenJPEG for them, and Pillow, which has the same library in it, does.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pulmospark.imaging.dicom.codestream import Codestream


def decode_reduced(
    encoded: bytes | memoryview, halvings: int, stream: Codestream
) -> NDArray[np.generic]:
    """Decode a codestream at a lower resolution.

    Args:
        encoded: the codestream, bare or in a JP2 file, whose declared size was checked before.
        halvings: of both sides, 1 to 3; sides of odd length are rounded up.
        stream: what it declares.

    Returns:
        (h, w) or (h, w, 3) samples of ``stream.precision`` bits, uint8 or uint16, signed ones as
        their bits in as many.

    Raises:
        OSError: Pillow refuses it; or it is of a kind that Pillow has no mode for.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image: Any = Image.open(io.BytesIO(encoded), formats=("JPEG2000",))
        image.reduce = halvings
        image.load()
    if image.mode not in ("L", "I;16", "RGB") or (image.mode == "RGB" and stream.precision > 8):
        raise OSError(f"no way to decode {stream.samples} samples of {stream.precision} bits")
    samples: NDArray[np.generic] = np.asarray(image)
    # Pillow fills 8 or 16 bits from the top, and lifts signed samples above zero.
    unused = 8 * samples.dtype.itemsize - stream.precision
    samples = np.right_shift(samples, unused) if unused else samples
    if stream.signed:
        half = samples.dtype.type(1 << (stream.precision - 1))
        samples = np.bitwise_xor(samples, half)
    return samples
