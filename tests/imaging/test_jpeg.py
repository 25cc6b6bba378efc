"""What a JPEG's segments declare, and what is decoded apart for it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from imaging.rasters import encoded, progressive_bomb
from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging.decode import Decoded, Rejected, decode
from pulmospark.imaging.jpeg import is_heavy, jpeg_header

Grey = NDArray[np.uint8]


def segment(mark: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, mark, len(content) + 2) + content


def exif_of(orientation: int) -> bytes:
    field = struct.pack(">HHIHH", 274, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + field + bytes(4)


def test_the_header_is_what_pillow_reads(shared_data: Path) -> None:
    seen = 0
    for folder in ("covid-chestxray-dataset/images", "chest_xray/test/NORMAL"):
        for path in sorted((shared_data / folder).iterdir())[::5]:
            data = path.read_bytes()
            if data[:2] != b"\xff\xd8":
                continue
            header = jpeg_header(data)
            image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
            assert header is not None
            assert (header.width, header.height) == image.size
            assert header.samples == image.layers
            assert header.is_progressive == bool(image.info.get("progressive"))
            assert header.exif == image.info.get("exif", b"")
            assert not is_heavy(data)
            seen += 1
    assert seen > 60


@pytest.mark.parametrize("fill", [b"\xff" * 5, b"junk"])
def test_bytes_between_segments_cost_no_image(drawn: Grey, fill: bytes) -> None:
    data = encoded(Image.fromarray(drawn), "JPEG", quality=95)
    at = 4 + int.from_bytes(data[4:6], "big")
    odd = data[:at] + fill + data[at:]
    assert (jpeg_header(odd) is None) == (fill == b"junk")
    decoded = decode(odd, at_least=4096)
    assert isinstance(decoded, Decoded)
    assert np.abs(decoded.grey.astype(int) - drawn).mean() < 1


def test_exif_of_several_segments_is_joined_as_pillow_joins_it(drawn: Grey) -> None:
    data = encoded(Image.fromarray(drawn), "JPEG", quality=95)
    block = exif_of(3)
    split = segment(0xE1, block[:20]) + segment(0xE1, b"Exif\0\0" + block[20:])
    odd = data[:2] + split + data[2:]
    header = jpeg_header(odd)
    assert header is not None
    assert header.exif == block
    decoded = decode(odd, at_least=4096)
    assert isinstance(decoded, Decoded)
    assert np.abs(decoded.grey.astype(int) - drawn[::-1, ::-1]).mean() < 1


def test_what_is_decoded_apart(drawn: Grey, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(drawn), "JPEG")
    assert not is_heavy(data)
    assert is_heavy(data[:2] + segment(0xE1, exif_of(1) + bytes(60_000)) * 2 + data[2:])
    assert is_heavy(data[:2] + segment(0xFE, b"") * 2000 + data[2:])
    assert not is_heavy(encoded(Image.fromarray(drawn), "JPEG", progressive=True))
    assert is_heavy(progressive_bomb(side=1500, scans=200))
    with monkeypatch.context() as patch:
        patch.setattr(limits, "INLINE_BYTES_MAX", len(data))
        assert not is_heavy(data)
        patch.setattr(limits, "INLINE_BYTES_MAX", len(data) - 1)
        assert is_heavy(data)
    monkeypatch.setattr(limits, "INLINE_PIXELS_MAX", 120 * 160 - 1)
    assert is_heavy(data)


def test_colours_in_scans_of_their_own_are_counted(drawn: Grey) -> None:
    rgb = Image.fromarray(drawn).convert("RGB")
    header = jpeg_header(encoded(rgb, "JPEG"))
    assert header is not None
    assert not header.is_progressive
    assert header.scans(encoded(rgb, "JPEG", progressive=True)) > 5
    grey = jpeg_header(encoded(Image.fromarray(drawn), "JPEG"))
    assert grey is not None
    assert grey.scans(b"\xff\xda" * 9) == 1


def test_the_case_of_490_scans(shared_cases: Path) -> None:
    data = (shared_cases / "a02-slow-files" / "jpeg_scans_490_gray81mp.jpg").read_bytes()
    refused = decode(data, at_least=224)
    assert isinstance(refused, Rejected)
    assert refused.reason is Why.TOO_SLOW
    assert "JPEG_SCAN_PIXELS_MAX" in refused.detail
