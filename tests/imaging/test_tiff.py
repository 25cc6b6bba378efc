"""TIFF in the forms that its tags allow: the right grey, or a reject that names the form."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import cv2
import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imaging.rasters import encoded, tiff
from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging.decode import Decoded, Rejected, decode

Grey = NDArray[np.uint8]
Order = Literal["<", ">"]


def grey(data: bytes) -> Grey:
    decoded = decode(data, at_least=64)
    assert isinstance(decoded, Decoded), decoded
    return decoded.grey


def reason(data: bytes) -> Why:
    refused = decode(data, at_least=64)
    assert isinstance(refused, Rejected), "decoded"
    return refused.reason


def spread(values: NDArray[Any]) -> NDArray[np.float64]:
    """The documented window, worked out with numpy."""
    low, high = np.percentile(values, (0.5, 99.5))
    return np.asarray(np.clip((values.astype(np.float64) - low) * 255 / (high - low), 0, 255))


def test_signed_bytes_of_a_real_writer(shared_cases: Path) -> None:
    folder = shared_cases / "f16-tiff"
    signed, deep = ((folder / name).read_bytes() for name in ("t25_i8.tif", "t00_u16.tif"))
    pixels = grey(signed)
    # imagecodecs gives -75 there, between -118 and 77; the 16-bit original is 58.
    assert abs(int(pixels[20, 20]) - 58) <= 1
    assert np.abs(pixels - spread(imagecodecs.tiff_decode(signed))).max() <= 0.51
    assert np.abs(pixels.astype(int) - grey(deep)).max() <= 2


def values_of(kind: str, drawn: Grey) -> NDArray[Any]:
    """The drawn image over most of the range of a type."""
    steps = drawn.astype(np.float64) - 128  # -100 to 100
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        return (steps * 1e2).astype(dtype)
    info = np.iinfo(dtype)
    middle = 0 if dtype.kind == "i" else info.max // 2 + 1
    return (middle + steps * (info.max / 256 if dtype.kind == "i" else info.max / 512)).astype(
        dtype
    )


READ = [("i1", "<"), ("i1", ">"), ("u2", "<"), ("u2", ">"), ("i2", "<"), ("i2", ">"), ("u4", "<"),
        ("i4", "<"), ("i4", ">"), ("f4", "<"), ("f4", ">")]  # fmt: skip


@pytest.mark.parametrize(("kind", "order"), READ)
def test_every_type_of_sample_that_is_read(kind: str, order: Order, drawn: Grey) -> None:
    values = values_of(kind, drawn)
    data = tiff(values, order=order)
    independent = imagecodecs.tiff_decode(data)
    assert np.array_equal(independent, values)
    assert np.abs(grey(data) - spread(independent)).max() < 1
    # Compressed, libtiff unpacks them: another road to the same values.
    if order == "<" and kind not in ("u4",):
        packed = cv2.imencode(".tiff", values)[1].tobytes()
        if np.array_equal(imagecodecs.tiff_decode(packed), values):
            assert np.abs(grey(packed) - spread(values)).max() < 1


def test_unsigned_words_above_two_thousand_million_do_not_wrap(drawn: Grey) -> None:
    values = drawn.astype(np.uint32) << 24
    assert values.max() > 2**31
    assert np.abs(grey(tiff(values)) - spread(values)).max() < 1


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_white_is_zero_is_inverted(kind: str, drawn: Grey) -> None:
    values = values_of(kind, drawn)
    if kind == "f4":
        values[0, :3] = (np.nan, np.inf, -np.inf)
    pixels = grey(tiff(values, photometric=0))
    wanted = 255 - spread(values_of(kind, drawn))
    assert np.abs(pixels[1:] - wanted[1:]).max() < 1
    if kind == "f4":
        assert pixels[0, 0] == 0


UNREAD: list[tuple[str, str, dict[str, Any]]] = [
    ("u4", ">", {}), ("f8", "<", {}), ("f2", "<", {}), ("u8", "<", {}), ("i8", ">", {}),
    ("i1", "<", {"photometric": 0}), ("i2", "<", {"photometric": 0}),
    ("u2", ">", {"photometric": 0}), ("u1", "<", {"t339": (4,)}), ("u2", "<", {"t339": (5,)}),
    ("u1", "<", {"photometric": 32844}), ("u2", "<", {"photometric": 3, "t320": (0, 1) * 384}),
    ("u1", "<", {"t259": (33003,)}), ("u1", "<", {"t259": (12345,)}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "order", "tags"), UNREAD)
def test_a_form_that_is_not_read_is_a_reject_by_name(
    kind: str, order: Order, tags: dict[str, Any], drawn: Grey
) -> None:
    assert reason(tiff(values_of(kind, drawn), order=order, **tags)) is Why.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("kind", ["i1", "i2", "f4"])
def test_colours_of_signed_or_real_samples_are_rejected(kind: str, drawn: Grey) -> None:
    values = np.dstack([values_of(kind, drawn)] * 3)
    assert reason(tiff(values, photometric=2)) is Why.UNSUPPORTED_FORMAT


def test_subsampled_colours_without_compression_are_rejected(drawn: Grey) -> None:
    values = np.dstack([drawn, np.full_like(drawn, 128), np.full_like(drawn, 128)])
    assert reason(tiff(values, photometric=6)) is Why.UNSUPPORTED_FORMAT  # halved by default
    whole = grey(tiff(values, photometric=6, t530=(1, 1)))
    assert np.abs(whole.astype(int) - drawn).max() <= 1


@pytest.mark.parametrize("factor", [1, 257])
def test_a_colour_map_of_eight_or_sixteen_bits(factor: int, drawn: Grey) -> None:
    levels = [255 - entry for entry in range(256)]
    data = tiff(drawn, photometric=3, t320=[level * factor for level in levels] * 3)
    assert np.abs(grey(data).astype(int) - (255 - drawn.astype(int))).max() <= 1


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("planar", [1, 2])
def test_planes_and_compressions(drawn: Grey, compression: str | None, planar: int) -> None:
    colours = np.dstack([drawn, 255 - drawn, drawn // 2])
    if planar == 2 and compression is None:
        planes = np.concatenate([colours[..., band] for band in range(3)])
        size = drawn.size
        places = (8, 8 + size, 8 + 2 * size)
        tags: dict[str, Any] = {"t257": (120,), "t258": (8, 8, 8), "t277": (3,), "t339": (1, 1, 1)}
        tags |= {"t273": places, "t279": (size,) * 3, "t278": (120,), "t284": (2,)}
        data = tiff(planes, photometric=2, **tags)
        independent = imagecodecs.tiff_decode(data).reshape(3, 120, 160)
        assert np.array_equal(independent[1], colours[..., 1])
    else:
        data = encoded(Image.fromarray(colours), "TIFF", compression=compression)
    red, green, blue = (colours[..., band].astype(float) for band in range(3))
    wanted = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(grey(data) - wanted).max() < 1


@pytest.mark.parametrize(("extra", "darkens"), [(0, False), (1, False), (2, True)])
def test_a_fourth_sample_of_16_bits_is_alpha_only_where_it_says_so(
    drawn: Grey, extra: int, darkens: bool
) -> None:
    values = np.dstack([drawn.astype(np.uint16) * 16] * 4)
    values[..., 3] = 0x7FFF
    pixels = grey(tiff(values, photometric=2, t338=(extra,)))
    wanted = spread(drawn) * (127 / 255 if darkens else 1)
    assert np.abs(pixels - wanted).mean() < 1


def test_a_cut_file_of_deep_colours_is_no_image(drawn: Grey) -> None:
    values = np.dstack([drawn.astype(np.uint16) * 16] * 3)
    data = cv2.imencode(".tiff", values)[1].tobytes()
    assert np.abs(grey(data) - spread(drawn)).mean() < 1
    for share in (0.3, 0.6, 0.95):
        assert reason(data[: int(share * len(data))]) in (Why.TRUNCATED, Why.UNREADABLE)


def test_directories_are_bounded(drawn: Grey) -> None:
    plain = tiff(drawn)
    assert reason(tiff(drawn, t273=range(8, 8 + limits.TIFF_STRIPS_MAX + 1))) is Why.TOO_SLOW
    many: dict[str, Any] = {
        f"t{tag}": (1,) for tag in range(40_000, 40_000 + limits.TIFF_FIELDS_MAX)
    }
    assert reason(tiff(drawn, **many)) is Why.UNREADABLE
    # 900 fields that share one value of the file's own size.
    values: dict[str, Any] = {f"t{tag}": (1,) for tag in range(40_001, 40_900)}
    shared = bytearray(tiff(drawn, **values, t40000=range(70_000)))
    start = int.from_bytes(shared[4:8], "little") + 2
    entries = [start + 12 * number for number in range(900)]
    first = next(at for at in entries if shared[at : at + 2] == (40_000).to_bytes(2, "little"))
    for at in entries:
        if int.from_bytes(shared[at : at + 2], "little") > 40_000:
            shared[at + 2 : at + 12] = shared[first + 2 : first + 12]
    assert reason(bytes(shared)) is Why.UNREADABLE
    # A profile that lies beyond the end says nothing of the pixels.
    profile = bytearray(tiff(drawn, t40000=(7, 7, 7)))
    at = profile.index((40_000).to_bytes(2, "little"))
    profile[at + 8 : at + 12] = (1 << 30).to_bytes(4, "little")
    assert np.array_equal(grey(bytes(profile)), grey(plain))


def test_a_second_page_is_a_reject_and_a_link_into_nothing_is_none(drawn: Grey) -> None:
    file = io.BytesIO()
    image = Image.fromarray(drawn)
    image.save(file, "TIFF", save_all=True, append_images=[image])
    assert reason(file.getvalue()) is Why.ANIMATED
    loose = bytearray(tiff(drawn))
    loose[-4:] = (1 << 30).to_bytes(4, "little")
    assert np.array_equal(grey(bytes(loose)), drawn)
