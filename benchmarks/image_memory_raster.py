"""Raster files of ``image_memory``: each format and kind of pixels at 100 megapixels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.image_memory import Case

_PNG: dict[str, Any] = {"compress_level": 1}
_FORMS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("L", "PNG", _PNG),
    ("P", "PNG", _PNG),
    ("RGBA", "PNG", _PNG),
    ("I;16", "PNG", _PNG),
    ("L", "JPEG", {}),
    ("L", "JPEG", {"progressive": True}),
    ("RGB", "JPEG", {"subsampling": 0}),
    ("RGB", "JPEG", {"subsampling": 0, "progressive": True}),
    ("CMYK", "JPEG", {}),
    ("L", "WEBP", {}),
    ("RGBA", "WEBP", {"lossless": True, "quality": 0, "method": 0}),
    ("L", "BMP", {}),
    ("RGB", "BMP", {}),
    ("RGBA", "BMP", {}),
    ("L", "GIF", {}),
    ("1", "TIFF", {"compression": "group4"}),
    ("L", "TIFF", {}),
    ("L", "TIFF", {"compression": "jpeg"}),
    ("RGB", "TIFF", {}),
    ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    ("RGB", "TIFF", {"compression": "jpeg"}),
    ("RGBA", "TIFF", {"compression": "tiff_adobe_deflate"}),
    ("CMYK", "TIFF", {"compression": "tiff_lzw"}),
    ("I;16", "TIFF", {}),
    ("I;16", "TIFF", {"compression": "tiff_lzw"}),
    ("I", "TIFF", {}),
    ("F", "TIFF", {}),
    ("F", "TIFF", {"compression": "tiff_adobe_deflate"}),
)
"""Pillow's mode, format and options"""
_DEEP = ((3, ".png"), (4, ".png"), (3, ".tiff"), (4, ".tiff"))
"""samples a pixel of 16-bit colours, and the ending that OpenCV knows the format by"""


def cases(side: int) -> Iterator[Case]:
    """Cases of an image of ``side`` x ``side`` pixels."""
    for mode, kind, options in _FORMS:
        words = " ".join(str(value) for key, value in options.items() if key != "compress_level")
        name = f"{kind} {mode} {words}".rstrip()
        yield Case(name, partial(_by_pillow, side=side, mode=mode, kind=kind, options=options))
    for samples, ending in _DEEP:
        name = f"{ending[1:].upper()} {samples} x 16 bits"
        yield Case(name, partial(_by_opencv, side=side, samples=samples, ending=ending))


def _waves(side: int) -> NDArray[np.uint8]:
    rows, columns = np.ogrid[:side, :side]
    return (127 * (1 + np.sin(columns / 900) * np.cos(rows / 700))).astype(np.uint8)


def _by_pillow(path: Path, side: int, mode: str, kind: str, options: dict[str, Any]) -> None:
    Image.MAX_IMAGE_PIXELS = None
    grey = _waves(side)
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        image = Image.fromarray(grey.astype(dtype) * 16)
    else:
        image = Image.fromarray(grey).convert(mode)
    if mode == "RGBA":
        image.paste((0, 0, 0, 0), (0, 0, side // 100, side))
    image.save(path, kind, **options)


def _by_opencv(path: Path, side: int, samples: int, ending: str) -> None:
    values = np.repeat(_waves(side).astype(np.uint16)[..., None] * 16, samples, axis=2)
    if samples == 4:
        values[:, side // 100 :, 3] = 65535
    how = [cv2.IMWRITE_PNG_COMPRESSION, 1] if ending == ".png" else []
    named = path.with_suffix(ending)
    if not cv2.imwrite(str(named), values, how):
        raise OSError(f"OpenCV wrote no {ending}")
    named.rename(path)
