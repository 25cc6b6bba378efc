"""Cells of a DataFrame to standard images: pure functions, without Spark."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.ml.image_reader import ImageReader, image_of_pixels, image_of_struct

RNG = np.random.default_rng(5)


def png(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def image(array: NDArray[np.uint8], mode: int) -> list[Any]:
    height, width, channels = array.shape
    return [array.tobytes(), height, width, channels, mode]


def pixels(found: NDArray[np.uint8] | Rejected) -> NDArray[np.uint8]:
    assert not isinstance(found, Rejected), found
    return found


def sized(size: int, fit: Any = "stretch") -> IngestSettings:
    return IngestSettings(size=size, fit=fit)


def reason(found: NDArray[np.uint8] | Rejected) -> str:
    assert isinstance(found, Rejected)
    return found.reason.value


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_an_equalised_image_has_an_even_histogram_and_the_hash_of_the_plain_one(fit: Any) -> None:
    grey = np.asarray(60 + 40 * RNG.random((70, 50)) ** 3, np.uint8)
    images = [
        image_from_bytes(png(grey), IngestSettings(size=32, fit=fit, equalise=equalise))
        for equalise in (False, True)
    ]
    plain, even = images
    assert isinstance(plain, StandardImage)
    assert isinstance(even, StandardImage)
    assert (plain.phash, plain.view, plain.image_id) == (even.phash, even.view, even.image_id)
    levels = plain.pixels
    counts = np.bincount(levels.ravel(), minlength=256)
    first = counts[levels.min()]
    wanted = (counts.cumsum() - first) / (levels.size - first) * 255
    found = even.pixels
    assert np.abs(found - wanted[levels]).max() <= 0.5 + 1e-3
    settings = IngestSettings(size=32, fit=fit, equalise=True)
    taken, _, _ = ImageReader("pixels", settings, "error").read([("a", even.pixels.tobytes())])
    assert taken[0].tobytes() == even.pixels.tobytes()


def test_colours_of_an_image_struct_are_bgr() -> None:
    red = np.zeros((20, 20, 3), np.uint8)
    red[..., 2] = 255
    assert np.all(pixels(image_of_struct(image(red, 16), sized(16))) == 76)  # 0.299 x 255


def test_transparent_pixels_of_an_image_struct_are_black() -> None:
    half = np.full((20, 20, 4), 200, np.uint8)
    half[..., 3] = 255
    half[:10, :, 3] = 0
    read = pixels(image_of_struct(image(half, 24), sized(20)))
    assert np.all(read[:10] == 0)
    assert np.all(read[10:] == 200)


def test_a_grey_image_struct_is_the_file_s_own_pixels() -> None:
    grey = RNG.integers(0, 256, (40, 50, 1), dtype=np.uint8)
    struct = pixels(image_of_struct(image(grey, 0), sized(24)))
    standard = image_from_bytes(png(grey[..., 0]), sized(24))
    assert isinstance(standard, StandardImage)
    assert np.array_equal(struct, standard.pixels)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([b"", -1, -1, -1, -1], "unsupported_format"),  # Spark's mark of an unreadable file
        ([b"\0" * 400, 20, 20, 1, 5], "unsupported_format"),  # CV_32FC1
        ([b"\0" * 399, 20, 20, 1, 0], "truncated"),
        ([b"\0" * 100, 10, 10, 1, 0], "too_small"),
        ([b"", 60_000, 60_000, 1, 0], "too_many_pixels"),
    ],
)
def test_image_structs_that_are_no_images(values: list[Any], wanted: str) -> None:
    assert reason(image_of_struct(values, sized(32))) == wanted


def test_pixels_are_taken_as_they_are() -> None:
    grey = RNG.integers(0, 256, (32, 32), dtype=np.uint8)
    assert np.array_equal(pixels(image_of_pixels(grey.tobytes(), 32)), grey)


def test_pixels_of_another_side_are_resized() -> None:
    flat = np.full((64, 64), 90, np.uint8)
    assert np.array_equal(pixels(image_of_pixels(flat.tobytes(), 32)), np.full((32, 32), 90))


@given(st.binary(max_size=3000))
def test_any_pixels_give_a_square_or_a_reason(data: bytes) -> None:
    read = image_of_pixels(data, 16)
    if isinstance(read, Rejected):
        side = int(len(data) ** 0.5)
        assert side * side != len(data) or side < limits.STANDARD_SIZE_MIN
    else:
        assert read.shape == (16, 16)


@given(
    st.binary(max_size=2000),
    st.integers(-2, 40),
    st.integers(-2, 40),
    st.integers(-1, 5),
    st.sampled_from([-1, 0, 5, 16, 24]),
)
def test_any_image_struct_gives_a_square_or_a_reason(
    data: bytes, height: int, width: int, channels: int, mode: int
) -> None:
    read = image_of_struct([data, height, width, channels, mode], sized(16, "pad"))
    assert isinstance(read, Rejected) or read.shape == (16, 16)


def test_a_reader_keeps_the_places_of_images() -> None:
    good = png(RNG.integers(0, 256, (40, 40), dtype=np.uint8))
    reader = ImageReader("bytes", sized(16), "keep")
    found, places, _ = reader.read([("a", None), ("b", good), ("c", b"text"), ("d", good)])
    assert found.shape == (2, 16, 16)
    assert places == [1, 3]


def test_a_reader_without_a_image_gives_none() -> None:
    found, places, _ = ImageReader("bytes", sized(16), "skip").read([("a", None)])
    assert found.shape == (0, 16, 16)
    assert places == []


def test_a_reader_that_must_not_go_on_names_file_reason_and_remedy() -> None:
    reader = ImageReader("bytes", sized(16), "error")
    with pytest.raises(InputError, match=r"^/x/a\.png: not_an_image: .*handleInvalid") as error:
        reader.read([("/x/a.png", b"no image at all")])
    assert "\n" not in error.value.message
