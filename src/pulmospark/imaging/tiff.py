"""TIFF: what its first directory declares, read within bounds before any decoder sees the file.

Tags are those of TIFF 6.0 (Adobe, 1992) and of BigTIFF.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.reject import RefusedError

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
                 13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip
"""bytes of a value by the field's type"""
_WHOLE: Final = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
COLOUR_MAP, TILE_WIDTH, TILE_OFFSETS, TILE_BYTES = 320, 322, 324, 325
EXTRA_SAMPLES, SAMPLE_FORMAT, YCBCR_SUBSAMPLING = 338, 339, 530

_PLAIN: Final = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946})
"""compressions whose cost is that of the bytes in and out: none, CCITT, LZW, Deflate, PackBits"""
_KNOWN: Final = {1: "none", 2: "CCITT RLE", 3: "CCITT T.4", 4: "CCITT T.6", 5: "LZW",
                 6: "old JPEG", 7: "JPEG", 8: "Deflate", 32773: "PackBits", 32946: "Deflate",
                 34925: "LZMA", 50000: "Zstandard", 50001: "WebP"}  # fmt: skip
_YCBCR: Final = 6
_SHOWN: Final = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP,
     STRIP_BYTES, PLANAR, COLOUR_MAP, TILE_WIDTH, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES,
     SAMPLE_FORMAT, YCBCR_SUBSAMPLING}
)  # fmt: skip
"""tags that the pixels cannot be read without"""


class Field(NamedTuple):
    """A field of the directory."""

    type: int
    values: int
    """how many"""
    place: int
    """of its first value in the file"""


@dataclass(frozen=True)
class Directory:
    """The first directory of a file."""

    data: bytes
    order: str
    """``<`` or ``>``"""
    fields: dict[int, Field]
    has_next: bool
    """whether a second directory follows"""

    def whole(self, tag: int, default: int | None = None) -> int:
        """The first whole number of a field.

        Raises:
            RefusedError: there is none, and no default.
        """
        values = self.numbers(tag)
        if len(values):
            return int(values[0])
        if default is None:
            raise RefusedError(
                RejectReason.UNREADABLE, f"tiff: no tag {tag} in the first directory"
            )
        return default

    def numbers(self, tag: int) -> np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]:
        """The whole numbers of a field, (n,); none where it is missing or of another kind."""
        field = self.fields.get(tag)
        if field is None or field.type not in _WHOLE or tag not in _SHOWN:
            return np.empty(0, np.uint64)
        kind = f"{self.order}{_WHOLE[field.type]}"
        return np.frombuffer(self.data, kind, field.values, field.place)

    @property
    def is_deep_colour(self) -> bool:
        """Whether it has colours of more than 8 bits, of which Pillow keeps the upper 8 only."""
        return self.whole(PHOTOMETRIC, 0) == 2 and self.whole(BITS, 1) > 8

    @property
    def is_costly(self) -> bool:
        """Whether its compression may take any time for a pixel, or a byte."""
        return self.whole(COMPRESSION, 1) not in _PLAIN


def directory_of(data: bytes) -> Directory:
    """Read the first directory.

    Raises:
        RefusedError: it is cut, or has more fields or values than an image's would.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, count_kind, entry, link = ("8xQ", "Q", "HHQ", "Q") if big else ("4xI", "H", "HHI", "I")
    value_bytes = 8 if big else 4
    entry_bytes = 20 if big else 12
    try:
        (at,) = struct.unpack_from(order + head, data)
        (count,) = struct.unpack_from(order + count_kind, data, at)
        at += struct.calcsize(order + count_kind)
        if count > limits.TIFF_FIELDS_MAX:
            raise RefusedError(
                RejectReason.UNREADABLE,
                f"tiff: {count} fields in its directory, over {limits.TIFF_FIELDS_MAX} "
                "(TIFF_FIELDS_MAX)",
            )
        fields: dict[int, Field] = {}
        for place in range(at, at + count * entry_bytes, entry_bytes):
            tag, kind, values = struct.unpack_from(order + entry, data, place)
            inline = values * _SIZES.get(kind, 1) <= value_bytes
            start = place + entry_bytes - value_bytes
            if not inline:
                (start,) = struct.unpack_from(order + link, data, start)
            fields[tag] = Field(kind, values, start)
        end = at + count * entry_bytes
        if len(data) < end:
            raise RefusedError(RejectReason.TRUNCATED, "tiff: it ends within its directory")
        following = data[end : end + struct.calcsize(order + link)]
    except (struct.error, OverflowError) as error:
        raise RefusedError(RejectReason.TRUNCATED, "tiff: it ends within its directory") from error
    _check_values(data, fields)
    offset = int.from_bytes(following, "little" if order == "<" else "big")
    return Directory(data, order, fields, 0 < offset < len(data))


def _check_values(data: bytes, fields: dict[int, Field]) -> None:
    held = 0
    for tag, field in fields.items():
        size = field.values * _SIZES.get(field.type, 1)
        if field.place + size > len(data):
            if tag in _SHOWN:
                raise RefusedError(RejectReason.TRUNCATED, f"tiff: it ends within tag {tag}")
            continue  # a description, a profile: readers pass over it
        held += size
        if field.type in _WHOLE and field.type != 1 and field.values > limits.TIFF_STRIPS_MAX:
            raise RefusedError(
                RejectReason.TOO_SLOW,
                f"tiff: {field.values} values of tag {tag}, over {limits.TIFF_STRIPS_MAX} "
                "(TIFF_STRIPS_MAX)",
            )
    if held > 2 * len(data):  # some share the two resolutions, none a profile
        raise RefusedError(
            RejectReason.UNREADABLE, "tiff: fields of its directory share their values"
        )


def check_form(directory: Directory) -> None:
    """Refuse what no reader of ours gives the right values of.

    Raises:
        RefusedError: a compression or a form of pixels that is not read, or strips that are not in
            the file.
    """
    compression = directory.whole(COMPRESSION, 1)
    if compression not in _KNOWN:
        raise RefusedError(
            RejectReason.UNSUPPORTED_FORMAT, f"tiff: compression {compression} is not read"
        )
    # Compressed ones are unfolded by libtiff; Pillow takes plain ones as if not subsampled.
    if directory.whole(PHOTOMETRIC, 0) == _YCBCR and compression == 1:
        halves = directory.numbers(YCBCR_SUBSAMPLING)
        if directory.whole(SAMPLES, 1) == 3 and (not len(halves) or max(halves) > 1):
            raise RefusedError(
                RejectReason.UNSUPPORTED_FORMAT, "tiff: subsampled colours, not compressed"
            )
    for tag in (STRIP_BYTES, TILE_BYTES):
        total = int(directory.numbers(tag).astype(np.uint64).sum())
        if total > 2 * len(directory.data):
            raise RefusedError(
                RejectReason.TRUNCATED, f"tiff: strips of {total} bytes in {len(directory.data)}"
            )


def form_words(directory: Directory) -> str:
    """How the pixels are stored, for a reject's detail."""
    bits = ",".join(str(bits) for bits in directory.numbers(BITS)[:8])
    return (
        f"{directory.whole(SAMPLES, 1)} samples of {bits or 1} bits, sample format "
        f"{directory.whole(SAMPLE_FORMAT, 1)}, photometric interpretation "
        f"{directory.whole(PHOTOMETRIC, 0)}"
    )
