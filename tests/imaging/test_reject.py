"""Every bad file, its reason, and that nothing raises."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging import jpeg
from pulmospark.imaging.decode import Decoded, Rejected, decode

Grey = NDArray[np.uint8]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reason(data: bytes) -> Why:
    result = decode(data, at_least=32)
    assert isinstance(result, Rejected), "decoded"
    assert result.detail and "\n" not in result.detail
    assert len(result.detail) <= limits.DETAIL_CHARS_MAX
    return result.reason


def png_of(width: int, height: int) -> bytes:
    """A small PNG whose header declares any size."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def samples() -> dict[str, bytes]:
    rows, columns = np.mgrid[:48, :64]
    grey = Image.fromarray((128 + 90 * np.sin(columns / 7) * np.cos(rows / 9)).astype(np.uint8))
    rgb = Image.merge("RGB", (grey, grey.transpose(Image.Transpose.FLIP_TOP_BOTTOM), grey))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 16)
    return {
        "jpeg": encoded(grey, "JPEG"),
        "jpeg colour": encoded(rgb, "JPEG"),
        "jpeg progressive": encoded(rgb, "JPEG", progressive=True),
        "png": encoded(grey, "PNG"),
        "png 16": encoded(deep, "PNG"),
        "bmp": encoded(rgb, "BMP"),
        "tiff": encoded(grey, "TIFF"),
        "tiff 16": encoded(deep, "TIFF"),
        "tiff deflate": encoded(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "webp": encoded(rgb, "WEBP"),
        "webp lossless": encoded(rgb, "WEBP", lossless=True),
        "gif": encoded(grey, "GIF"),
    }


SAMPLES = samples()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", Why.EMPTY),
        (b"no image, but a text\n" * 20, Why.NOT_AN_IMAGE),
        (bytes(500), Why.NOT_AN_IMAGE),
        (bytes(128) + b"DICM" + bytes(100), Why.TRUNCATED),
        (b"\0\0\0\x18ftypheic" + bytes(99), Why.UNSUPPORTED_FORMAT),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(99), Why.UNSUPPORTED_FORMAT),
        (b"\xff\xd8\xff\xe0 not more of a JPEG \xff\xd9", Why.UNREADABLE),
    ],
)
def test_no_image(data: bytes, why: Why) -> None:
    assert reason(data) == why


def test_a_bomb_costs_neither_memory_nor_a_warning() -> None:
    data = png_of(60_000, 60_000)
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason(data) == Why.TOO_MANY_PIXELS
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_size_at_the_limits() -> None:
    side = int(limits.IMAGE_PIXELS_MAX**0.5)
    assert reason(png_of(side, side + 1)) == Why.TOO_MANY_PIXELS
    assert reason(png_of(15, 400)) == Why.TOO_SMALL
    assert isinstance(decode(encoded(Image.new("L", (16, 16)), "PNG"), at_least=8), Decoded)


def test_sizes_in_other_headers() -> None:
    huge = (60_000).to_bytes(2, "big") * 2
    frame = SAMPLES["jpeg"].index(b"\xff\xc0")
    data = SAMPLES["jpeg"]
    assert reason(data[: frame + 5] + huge + data[frame + 9 :]) == Why.TOO_MANY_PIXELS
    data = SAMPLES["bmp"]
    huge = (60_000).to_bytes(4, "little") * 2
    assert reason(data[:18] + huge + data[26:]) == Why.TOO_MANY_PIXELS
    data = SAMPLES["webp"]
    huge = (0x3FFF).to_bytes(2, "little") * 2
    assert data[12:16] == b"VP8 "
    assert reason(data[:26] + huge + data[30:]) == Why.TOO_MANY_PIXELS
    data = SAMPLES["webp lossless"]
    assert reason(data[:21] + b"\xff\xff\xff\x0f" + data[25:]) == Why.TOO_MANY_PIXELS


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animated(drawn: Grey, kind: str) -> None:
    first, second = Image.fromarray(drawn), Image.fromarray(255 - drawn)
    data = encoded(first, kind, save_all=True, append_images=[second])
    assert reason(data) == Why.ANIMATED


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(drawn: Grey, kind: str) -> None:
    assert reason(encoded(Image.fromarray(drawn).convert("CMYK"), kind)) == Why.CMYK


def test_adobe_inverted_ycck(drawn: Grey) -> None:
    data = encoded(Image.fromarray(drawn).convert("CMYK"), "JPEG")
    adobe = data.index(b"Adobe")
    assert reason(data[: adobe + 11] + b"\x02" + data[adobe + 12 :]) == Why.CMYK


@pytest.mark.parametrize("name", SAMPLES)
def test_a_cut_file_is_never_taken_for_whole(name: str) -> None:
    data = SAMPLES[name]
    whole = decode(data, at_least=32)
    assert isinstance(whole, Decoded)
    for length in [*range(1, 60, 3), *range(60, len(data), 37), len(data) - 2, len(data) - 1]:
        result = decode(data[:length], at_least=32)
        if isinstance(result, Decoded):  # only what does not matter was cut off
            assert np.array_equal(result.grey, whole.grey)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_file_is_called_truncated(name: str, share: float) -> None:
    data = SAMPLES[name]
    assert reason(data[: int(len(data) * share)]) == Why.TRUNCATED


@pytest.mark.parametrize("name", ["jpeg", "jpeg colour", "jpeg progressive"])
def test_jpeg_that_is_cut_and_closed_again(name: str) -> None:
    data = SAMPLES[name]
    scan = data.index(b"\xff\xda")
    assert reason(data[: scan + (len(data) - scan) // 2] + b"\xff\xd9") == Why.TRUNCATED
    assert reason(data[:-2]) == Why.TRUNCATED


def test_png_with_an_end_but_too_few_rows() -> None:
    assert reason(png_of(400, 400)) == Why.TRUNCATED


def test_bytes_after_the_image_do_no_harm() -> None:
    for name in ("jpeg", "png", "bmp", "webp"):
        assert isinstance(decode(SAMPLES[name] + b"\x00 appended" * 9, at_least=32), Decoded)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = SAMPLES["jpeg progressive"]
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    assert reason(data[:last] + scan * (limits.JPEG_SCANS_MAX + 1) + b"\xff\xd9") == Why.TOO_SLOW


def test_running_out_of_memory_costs_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(jpeg, "check_size", full)
    assert reason(SAMPLES["jpeg"]) == Why.UNREADABLE


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert isinstance(decode(data, at_least=32), Rejected)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    near_head=st.booleans(),
    cut=st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore")
def test_changed_bytes(
    name: str, changes: list[tuple[float, int]], near_head: bool, cut: float
) -> None:
    data = bytearray(SAMPLES[name])
    reach = min(len(data), 160) if near_head else len(data)
    for place, value in changes:
        data[int(place * (reach - 1))] = value
    if cut < 0.2:
        del data[int(cut * 5 * len(data)) :]
    result = decode(bytes(data), at_least=32)
    if isinstance(result, Decoded):
        assert result.grey.dtype == np.uint8
        assert result.grey.ndim == 2
        assert min(result.height, result.width) >= limits.IMAGE_SIDE_MIN
    else:
        assert len(result.detail) <= limits.DETAIL_CHARS_MAX
