"""Read what a compressed frame declares before it is decoded.

A frame may declare another size than the DICOM header: that is checked against the header's,
so that no decoder makes room for a bomb. Markers are those of ISO/IEC 10918-1 (JPEG), 14495-1
(JPEG-LS) and 15444-1 (JPEG 2000); the size header is that of 18181-1 (JPEG XL).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.reject import RefusedError

_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_FILL: Final = b"\0\xff"
_TAIL_BYTES: Final = 64 * 1024
"""bytes at a frame's end among which its end mark is looked for, fill bytes behind it"""
_BOXES_BYTES: Final = 1024 * 1024
"""bytes of a JP2 file in which its codestream has to begin"""
_SCAN: Final = re.compile(rb"\xff\xda")
_JPEG2000: Final = b"\xff\x4f\xff\x51"
_JPEG2000_BOX: Final = b"\x00\x00\x00\x0cjP  "
_JPEG_XL: Final = b"\xff\x0a"
_JPEG_XL_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""width to height, as a size header may say instead of the width"""
_LS_FRAME: Final = 0xF7
# SOF0 to SOF15 without DHT, JPG and DAC, which lie among them.
_FRAMES: Final = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {_LS_FRAME}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_LOSSLESS: Final = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_ADOBE, _JFIF = b"Adobe", b"JFIF\0"


@dataclass(frozen=True)
class Codestream:
    """Properties declared in a frame's header."""

    height: int
    width: int
    samples: int
    """components a pixel"""
    precision: int
    """bits a sample"""
    signed: bool = False
    passes: int = 1
    """over the samples; in several, a decoder keeps the coefficients of all of them"""
    is_lossy: bool = False
    """JPEG of a cosine transform"""
    space: str = ""
    """``RGB`` or ``YBR`` where the codestream itself says which; else empty"""


def jpeg_codestream(frame: bytes | memoryview) -> Codestream:
    """Read the header of a JPEG or JPEG-LS codestream.

    Raises:
        RefusedError: it is none, or it ends before its image does.
    """
    if frame[:2] != _START:
        raise RefusedError(RejectReason.UNREADABLE, "dicom: the compressed frame is no JPEG")
    at, space = 2, ""
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        mark = frame[at + 1]
        if mark == 0xFF:  # fill byte
            at += 1
            continue
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        body = bytes(frame[at + 4 : at + 2 + length])
        if mark in _FRAMES:
            return _jpeg_frame(body, space, mark, _scans(frame))
        if mark == 0xEE and body.startswith(_ADOBE) and len(body) >= 12:
            space = "YBR" if body[11] else "RGB"
        elif mark == 0xE0 and body.startswith(_JFIF):
            space = space or "YBR"
        at += 2 + max(length, 2)
    raise RefusedError(
        RejectReason.TRUNCATED, "dicom: the compressed frame ends within its header"
    )


def _scans(frame: bytes | memoryview) -> int:
    """Count the scans of a stream that has an end."""
    # A decoder of JPEG-LS may run for ever on a stream that has no end.
    # Some writers fill up with the bytes of a marker, some with zeros.
    if not has_end(frame):
        raise RefusedError(RejectReason.TRUNCATED, "dicom: the compressed frame has no end mark")
    scans = sum(1 for _ in _SCAN.finditer(frame))
    if scans > limits.JPEG_SCANS_MAX:
        raise RefusedError(
            RejectReason.TOO_SLOW,
            f"dicom: {scans} scans in a frame, over JPEG_SCANS_MAX ({limits.JPEG_SCANS_MAX})",
        )
    return scans


def has_end(frame: bytes | memoryview) -> bool:
    """Whether a codestream has its end marker, possibly followed by padding."""
    return bytes(frame[-_TAIL_BYTES:]).rstrip(_FILL).endswith(_END)


def _jpeg_frame(body: bytes, space: str, mark: int, scans: int) -> Codestream:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise RefusedError(
            RejectReason.TRUNCATED, "dicom: the compressed frame ends in its header"
        )
    samples = body[5]
    if samples == 3 and not space and bytes(body[6 + 3 * n] for n in range(3)) == b"RGB":
        space = "RGB"
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return Codestream(
        height, width, samples, body[0],
        passes=1 if mark == _LS_FRAME else max(scans, 2 if mark in _PROGRESSIVE else 1),
        is_lossy=mark != _LS_FRAME and mark not in _LOSSLESS,
        space=space,
    )  # fmt: skip


def jpeg2000_codestream(frame: bytes | memoryview) -> Codestream:
    """Read the SIZ marker of a JPEG 2000 codestream, bare or in a JP2 file.

    Raises:
        RefusedError: it is none.
    """
    at = 0
    if frame[: len(_JPEG2000_BOX)] == _JPEG2000_BOX:
        at = bytes(frame[:_BOXES_BYTES]).find(_JPEG2000)
    if at < 0 or frame[at : at + 4] != _JPEG2000:
        raise RefusedError(RejectReason.UNREADABLE, "dicom: the compressed frame is no JPEG 2000")
    body = bytes(frame[at + 4 : at + 4 + 40])
    if len(body) < 40:
        raise RefusedError(
            RejectReason.TRUNCATED, "dicom: the compressed frame ends in its header"
        )
    right, bottom, left, top = (int.from_bytes(body[n : n + 4], "big") for n in (4, 8, 12, 16))
    sizes = (int.from_bytes(body[n : n + 4], "big") for n in (20, 24, 28, 32))
    tile_w, tile_h, tile_left, tile_top = sizes
    tiles = -((tile_left - right) // max(tile_w, 1)) * -((tile_top - bottom) // max(tile_h, 1))
    if tiles > limits.JPEG2000_TILES_MAX:
        raise RefusedError(
            RejectReason.UNREADABLE,
            f"dicom: {tiles} tiles in a frame, over {limits.JPEG2000_TILES_MAX}",
        )
    return Codestream(
        height=bottom - top,
        width=right - left,
        samples=int.from_bytes(body[36:38], "big"),
        precision=(body[38] & 0x7F) + 1,
        signed=bool(body[38] & 0x80),
    )


def jpegxl_size(frame: bytes | memoryview) -> tuple[int, int]:
    """Height and width of a JPEG XL codestream, bare or in boxes.

    Raises:
        RefusedError: it is none, or it ends in its header.
    """
    head = bytes(frame[:_BOXES_BYTES])
    at = 0 if head.startswith(_JPEG_XL) else _jpegxl_box(head)
    if head[at : at + 2] != _JPEG_XL or len(head) < at + 16:
        raise RefusedError(RejectReason.UNREADABLE, "dicom: the compressed frame is no JPEG XL")
    bits = _Bits(int.from_bytes(head[at + 2 : at + 16], "little"))
    is_small = bits.take(1)
    height = _jpegxl_side(bits, is_small=bool(is_small))
    ratio = bits.take(3)
    if ratio == 0:
        return height, _jpegxl_side(bits, is_small=bool(is_small))
    wide, high = _JPEG_XL_RATIOS[ratio - 1]
    return height, height * wide // high


class _Bits:
    """Bits of a number, the lowest first."""

    def __init__(self, value: int) -> None:
        self._value = value

    def take(self, count: int) -> int:
        """The next bits."""
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken


def _jpegxl_side(bits: _Bits, *, is_small: bool) -> int:
    if is_small:
        return 8 * (bits.take(5) + 1)
    return bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


def _jpegxl_box(head: bytes) -> int:
    """Where the codestream begins in a file of boxes."""
    at = 0
    while at + 8 <= len(head):
        length, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if kind in (b"jxlc", b"jxlp"):
            return at + (8 if kind == b"jxlc" else 12)
        if length < 8:
            break
        at += length
    return len(head)
