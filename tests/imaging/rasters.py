"""Image files that tests are made of."""

from __future__ import annotations

import io
import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
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


def tiff(
    values: NDArray[np.generic],
    *,
    order: Literal["<", ">"] = "<",
    photometric: int = 1,
    **tags: Any,
) -> bytes:
    """An uncompressed TIFF of one strip, of values as they are: (h, w) or (h, w, samples).

    Args:
        values: of which kind and size give sample format and bits.
        order: ``<`` or ``>``.
        photometric: interpretation.
        tags: ``t258=(8, 8)`` and so on: whole numbers of a field that replace what is worked
            out, or are added; written as SHORT, above 65,535 as LONG.
    """
    samples = 1 if values.ndim == 2 else values.shape[2]
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    fields: dict[int, tuple[int, ...]] = {
        256: (values.shape[1],), 257: (values.shape[0],),
        258: (8 * values.dtype.itemsize,) * samples, 259: (1,), 262: (photometric,), 273: (8,),
        277: (samples,), 278: (values.shape[0],), 279: (len(body),),
        339: (sample_format,) * samples,
    }  # fmt: skip
    fields |= {int(name[1:]): tuple(value) for name, value in tags.items()}
    start = 8 + len(body) + len(body) % 2
    behind = start + 2 + 12 * len(fields) + 4
    entries, more = b"", b""
    for tag, numbers in sorted(fields.items()):
        letter, kind = ("I", 4) if max(numbers) > 65535 or tag in (273, 279) else ("H", 3)
        packed = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", behind + len(more))
            more += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    directory = struct.pack(f"{order}H", len(fields)) + entries + bytes(4)
    return head + body.ljust(start - 8, b"\0") + directory + more
