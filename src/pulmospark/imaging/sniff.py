"""The format of a file from its content: names lie, and often."""

from __future__ import annotations

DECODED_FORMATS = frozenset({"jpeg", "png", "tiff", "bmp", "webp", "gif"})
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
        A name in :data:`DECODED_FORMATS`; or ``dicom``, ``jpeg2000`` or ``heif``, which are
        known and not decoded here; ``None`` for anything else.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "bmp"
    if head[128:132] == b"DICM":
        return "dicom"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "heif"
    return None
