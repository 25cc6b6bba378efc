"""Image files that tests are made of."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image as a file of a format, by Pillow's name of it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def progressive_bomb(side: int, scans: int) -> bytes:
    """A small grey JPEG of many empty scans, each of which visits all pixels."""
    data = encoded(Image.new("L", (side, side), 90), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    # The first scan of the AC coefficients may be repeated without a complaint.
    return data[:last] + data[last:-2] * (scans - data.count(b"\xff\xda") + 1) + data[-2:]
