"""Decode compressed frames of DICOM files with the codec of their transfer syntax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging import decode_subprocess
from pulmospark.imaging.dicom.codestream import (
    Codestream,
    jpeg2000_codestream,
    jpeg_codestream,
    jpegxl_size,
)
from pulmospark.imaging.dicom.jpeg2000_reduced import decode_reduced
from pulmospark.imaging.dicom.pixel_format import PixelForm
from pulmospark.imaging.dicom.transfer_syntax import MAY_LOSE, codec_of, family_of, name_of
from pulmospark.imaging.reject import RefusedError

_GREY_BYTES: Final = 3
"""bytes a pixel of what is made of the samples: 8-bit grey, and 16-bit luma on the way there"""
_EXTRA_BYTES: Final = {"JPEG 2000": 8, "HTJ2K": 2, "JPEG": 2, "JPEG XL": 16}
"""working bytes per sample of a codec, in addition to its output; measured by
``python -m benchmarks image_memory``"""
_CODECS: Final = {
    "JPEG": "jpeg8", "JPEG-LS": "jpegls", "JPEG 2000": "jpeg2k", "HTJ2K": "htj2k",
    "JPEG XL": "jpegxl",
}  # fmt: skip
"""imagecodecs' names"""
_INLINE_SAMPLES, _INLINE_BYTES = 64_000_000, 16 * 1024 * 1024
"""samples times passes over them, and bytes, up to which a frame takes below a second or two"""
_REDUCED_PIXELS: Final = 16_000_000
"""pixels of a JPEG 2000 frame from which it is decoded at half the resolution, or less"""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded frame."""

    raw: NDArray[np.unsignedinteger]
    """(rows, columns) or (rows, columns, 3) samples, signed ones as their bits"""
    precision: int
    """bits a sample of the codestream; 0: it has no word for it"""
    has_own_sign: bool
    """whether the sign of a sample stands in the highest of ``precision`` bits"""
    signed: bool | None = None
    """as the codestream says; ``None``: it has no word for it"""
    space: str = ""
    """see ``dicom_pixels.Stored.space``; empty where the header knows"""
    eighths: int = 8
    is_lossy: bool = False
    """whether values may differ from those that were compressed"""


def decode_frame(
    syntax: str, encoded: memoryview | bytes, form: PixelForm, *, held: int, at_least: int
) -> Decoded:
    """Decode a frame.

    Args:
        syntax: transfer syntax UID.
        encoded: the frame's codestream.
        form: of the pixels.
        held: bytes that are held already.
        at_least: pixels that the shorter side keeps where a large frame is decoded at a lower
            resolution; 0: it is decoded in full.

    Raises:
        RefusedError: the data is cut or damaged, contradicts the header, or would take too much
            memory.
    """
    family = family_of(syntax)
    codec = codec_of(encoded)
    if codec != family and (codec or family != "RLE"):
        raise RefusedError(
            RejectReason.UNREADABLE,
            f"dicom: the transfer syntax says {name_of(syntax)}, "
            f"and the frame is {codec or 'of no codec that is known'}",
        )
    if family == "RLE":
        _check_room(family, form, held, 8)
        return Decoded(_rle(encoded, form), 0, has_own_sign=False)
    stream = _declared(family, encoded, form)
    declared = (stream.height, stream.width, stream.samples)
    if declared != (form.rows, form.columns, form.samples):
        raise RefusedError(
            RejectReason.UNREADABLE,
            f"dicom: a frame of {stream.width} x {stream.height} x {stream.samples} where the "
            f"header says {form.columns} x {form.rows} x {form.samples}",
        )
    eighths = _eighths(family, form, at_least)
    _check_room(family, form, held, eighths, is_buffered=stream.passes > 1)
    try:
        luma = _space(family, stream, form) == "Y"
        raw = _samples(family, encoded, stream, eighths, luma=luma)
    except decode_subprocess.DecoderSlowError as error:
        raise RefusedError(
            RejectReason.TOO_SLOW, f"dicom: {family}: {error} (DECODE_SECONDS_MAX)"
        ) from error
    except decode_subprocess.DecoderError as error:
        raise RefusedError(
            RejectReason.UNREADABLE, f"dicom: {family}: the decoder refuses a frame, or ended"
        ) from error
    except Exception as error:
        raise RefusedError(
            RejectReason.UNREADABLE, f"dicom: the decoder refuses a frame: {type(error).__name__}"
        ) from error
    return _checked(syntax, raw, stream, form, eighths)


def _declared(family: str, encoded: memoryview | bytes, form: PixelForm) -> Codestream:
    """Properties declared by the codestream."""
    if family in ("JPEG", "JPEG-LS"):
        return jpeg_codestream(encoded)
    if family == "JPEG XL":  # only its size can be read without a decoder
        height, width = jpegxl_size(encoded)
        return Codestream(height, width, form.samples, 0)
    return jpeg2000_codestream(encoded)


def _checked(
    syntax: str, raw: NDArray[np.generic], stream: Codestream, form: PixelForm, eighths: int
) -> Decoded:
    family = family_of(syntax)
    rows, columns = -(-form.rows * eighths // 8), -(-form.columns * eighths // 8)
    space = _space(family, stream, form)
    wanted = (rows, columns) if form.samples == 1 or space == "Y" else (rows, columns, 3)
    if raw.shape != wanted or raw.dtype.kind not in "iu":
        raise RefusedError(RejectReason.UNREADABLE, "dicom: the decoder gives another shape")
    return Decoded(
        raw.view(f"u{raw.dtype.itemsize}"),
        stream.precision,
        has_own_sign=family != "JPEG",
        signed=stream.signed if family in ("JPEG 2000", "HTJ2K") else None,
        space=space,
        eighths=eighths,
        is_lossy=syntax in MAY_LOSE,
    )


def _space(family: str, stream: Codestream, form: PixelForm) -> str:
    if form.samples == 1:
        return ""
    if family == "JPEG":
        named = stream.space or ("RGB" if form.photometric == "RGB" else "YBR")
        return "Y" if named == "YBR" and stream.is_lossy else named
    return "RGB" if form.photometric in ("RGB", "YBR_ICT", "YBR_RCT") else "YBR"


def _eighths(family: str, form: PixelForm, at_least: int) -> int:
    """Scale at which a large frame is decoded, in eighths: codecs of wavelets can halve it."""
    eighths = 8
    if family not in ("JPEG 2000", "HTJ2K") or not at_least:
        return eighths
    rows, columns = form.rows, form.columns
    while (
        eighths > 1
        and rows * columns * form.samples > _REDUCED_PIXELS
        and min(rows, columns) // 2 >= at_least
    ):
        rows, columns, eighths = -(-rows // 2), -(-columns // 2), eighths // 2
    return eighths


def _check_room(
    family: str, form: PixelForm, held: int, eighths: int, *, is_buffered: bool = False
) -> None:
    """Refuse a frame that would take more memory than one image may.

    ``is_buffered``: the codec keeps all coefficients, for they come in several passes.
    """
    pixels = form.rows * form.columns * eighths * eighths // 64
    own = form.dtype.itemsize
    extra = _EXTRA_BYTES.get(family, 0) if family != "JPEG" or is_buffered else 0
    need = held + pixels * (form.samples * (own + extra) + _GREY_BYTES)
    if need > limits.DECODED_BYTES_MAX:
        raise RefusedError(
            RejectReason.TOO_MANY_PIXELS,
            f"dicom: {form.columns} x {form.rows} pixels would take {need} bytes as {family}, "
            f"over DECODED_BYTES_MAX ({limits.DECODED_BYTES_MAX})",
        )


def _samples(
    family: str, encoded: memoryview | bytes, stream: Codestream, eighths: int, *, luma: bool
) -> NDArray[np.generic]:
    halvings = {8: 0, 4: 1, 2: 2, 1: 3}[eighths]
    if family == "JPEG 2000" and halvings:
        return decode_reduced(encoded, halvings, stream)
    options: dict[str, Any] = {}
    if family == "JPEG":
        # Colours are left as they are: which ones they are, the header knows better.
        plain = None if stream.samples == 1 else "YCBCR"
        options = {"colorspace": plain, "outcolorspace": "GRAYSCALE" if luma else plain}
    elif family == "HTJ2K":
        options = {"skipres": halvings or None}
    elif family == "JPEG 2000":
        options = {"numthreads": 1}
    elif family == "JPEG XL":
        options = {"index": 0, "numthreads": 1}
    if _may_be_slow(family, encoded, stream):
        return decode_subprocess.decode_codestream(_CODECS[family], encoded, **options)
    decode = getattr(imagecodecs, f"{_CODECS[family]}_decode")
    samples: NDArray[np.generic] = decode(encoded, **options)
    return samples


def _may_be_slow(family: str, encoded: memoryview | bytes, stream: Codestream) -> bool:
    """Whether a frame is decoded in a process that is killed if it takes too long.

    CharLS runs for ever on some damaged streams, and how long JPEG XL takes its header hides.
    """
    pixels = stream.height * stream.width * stream.samples
    passes = stream.passes if family == "JPEG" else 4
    return (
        family in ("JPEG-LS", "JPEG XL")
        or passes * pixels > _INLINE_SAMPLES
        or len(encoded) > _INLINE_BYTES
    )


def _rle(encoded: memoryview | bytes, form: PixelForm) -> NDArray[np.unsignedinteger]:
    kind = form.dtype.newbyteorder("<")
    count = form.rows * form.columns * form.samples
    try:  # into room of the declared size: a small file could unfold to 64 times its own
        room = bytearray(count * kind.itemsize)
        # It takes any buffer; its stub omits memoryview.
        raw = imagecodecs.dicomrle_decode(encoded, kind, out=room)  # type: ignore[arg-type]
    except Exception as error:
        raise RefusedError(RejectReason.UNREADABLE, "dicom: the RLE data is damaged") from error
    flat = np.frombuffer(raw, kind)
    if flat.size < count:
        raise RefusedError(
            RejectReason.TRUNCATED, "dicom: the RLE data ends before its image does"
        )
    if form.samples == 1:
        return flat.reshape(form.rows, form.columns)
    return flat.reshape(3, form.rows, form.columns).transpose(1, 2, 0)
