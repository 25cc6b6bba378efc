from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pulmospark.imaging.sniff import DECODED_FORMATS, sniff


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_real_heads(name: str) -> None:
    file = io.BytesIO()
    Image.new("L", (40, 30)).save(file, name)
    assert sniff(file.getvalue()[:132]) == name.lower()
    assert name.lower() in DECODED_FORMATS


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (bytes(128) + b"DICM", "dicom"),
        (bytes(127) + b"DICM", None),
        (b"MM\x00*" + bytes(60), "tiff"),
        (b"II+\x00" + bytes(60), "tiff"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jpeg2000"),
        (b"\x00\x00\x00\x1cftypavif", "heif"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"BMW is a car, and this is a text of some length", None),
        (b"patient,finding\n1,COVID-19\n", None),
        (b"", None),
    ],
)
def test_marks(head: bytes, name: str | None) -> None:
    assert sniff(head) == name


@given(st.binary(max_size=200))
def test_never_raises(head: bytes) -> None:
    assert sniff(head) is None or isinstance(sniff(head), str)
