"""The format of a file from its content: names lie, and often."""

from __future__ import annotations

from typing import Literal

DECODED_FORMATS = frozenset({"jpeg", "png", "tiff", "bmp", "webp", "gif", "dicom"})
"""formats that :func:`pulmospark.imaging.decode.decode` reads"""

_MARKS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),  # BigTIFF
    (b"MM\x00+", "tiff"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),  # bare codestream
)
# Sizes of the known info headers: "BM" alone also begins many a text.
_BMP_HEADER_BYTES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"})


def sniff(head: bytes) -> str | None:
    """Name the image format of a file.

    Args:
        head: its first ``limits.SNIFF_BYTES`` bytes, or more.

    Returns:
        A name in :data:`DECODED_FORMATS`; or ``jpeg2000`` or ``heif``, which are known and not
        decoded here; ``None`` for anything else.
    """
    # Before the others: the 128 bytes ahead of it are free, and may look like a TIFF.
    if head[128:132] == b"DICM":
        return "dicom"
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "bmp"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "heif"
    return "dicom" if _is_bare_dicom(head) else None


def _is_bare_dicom(head: bytes) -> bool:
    """Whether a file's head is a DICOM data set without preamble, as old writers left it.

    Its first element is of group 2 or 8 with a small element number, and has either a value
    representation, two capitals, or a short length.
    """
    if len(head) < 12:
        return False
    order: Literal["little", "big"] = "big" if head[0] == 0 else "little"
    group, element = int.from_bytes(head[:2], order), int.from_bytes(head[2:4], order)
    if group not in (0x0002, 0x0008) or element >= 0x0100:
        return False
    vr = head[4:6]
    return (vr.isalpha() and vr.isupper()) or int.from_bytes(head[4:8], order) <= 64
