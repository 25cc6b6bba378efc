"""Where the original lies in its standard image: a planted mark is found again."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imaging.dicoms import dataset, file_of
from pulmospark.config.ingest import IngestSettings
from pulmospark.imaging.image import StandardImage, image_from_bytes, images_from_bytes
from pulmospark.imaging.placement import Placement

SIZE = 96


def marked(height: int, width: int, row: float, column: float, radius: float) -> np.ndarray:
    """A black image with one bright soft spot."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    distance = (rows - row) ** 2 + (columns - column) ** 2
    return np.asarray(np.rint(255 * np.exp(-0.5 * distance / radius**2)), np.uint8)


def centre(image: np.ndarray) -> tuple[float, float]:
    """Centre of mass, pixel i reaching from i to i + 1."""
    weights = image.astype(np.float64)
    total = weights.sum()
    rows, columns = (np.arange(length) + 0.5 for length in image.shape)
    return (
        float((weights.sum(axis=1) * rows).sum() / total),
        float((weights.sum(axis=0) * columns).sum() / total),
    )


def encoded(image: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


def standard(data: bytes, **values: Any) -> StandardImage:
    image = image_from_bytes(data, IngestSettings(size=SIZE, **values))
    assert isinstance(image, StandardImage)
    return image


def found_again(image: StandardImage) -> tuple[float, float]:
    """Where the mark of a standard image lies in the original."""
    assert image.placement is not None
    back = image.placement.to_original(image.pixels.astype(np.float32))
    assert back.shape == (image.height, image.width)
    return centre(back)


@given(
    height=st.integers(40, 700),
    width=st.integers(40, 700),
    fit=st.sampled_from(["stretch", "pad", "crop"]),
    at=st.tuples(st.floats(0.35, 0.65), st.floats(0.35, 0.65)),
)
@settings(max_examples=60, deadline=None)
def test_a_mark_is_found_where_it_was_planted(
    height: int, width: int, fit: str, at: tuple[float, float]
) -> None:
    short = min(height, width)
    # In the middle third of the shorter side, which no fit cuts away.
    row = height / 2 + (at[0] - 0.5) * short
    column = width / 2 + (at[1] - 0.5) * short
    image = standard(encoded(marked(height, width, row, column, short / 25)), fit=fit)
    pixel = max(height, width) / SIZE
    assert found_again(image) == pytest.approx((row, column), abs=0.35 * max(pixel, 1))


@pytest.mark.parametrize("shape", [(1500, 1101), (1101, 1500), (999, 1333)])
@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_a_jpeg_that_is_decoded_smaller(shape: tuple[int, int], fit: str) -> None:
    row, column = 0.55 * shape[0], 0.4 * shape[1]
    image = standard(encoded(marked(*shape, row, column, 40), "JPEG", quality=95), fit=fit)
    assert found_again(image) == pytest.approx((row, column), abs=4)


def test_a_turned_jpeg_has_the_coordinates_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise to be upright
    stored = marked(300, 200, 60, 150, 8)  # upright: 200 high, 300 wide
    image = standard(encoded(stored, "JPEG", quality=95, exif=exif), fit="pad")
    assert (image.height, image.width) == (200, 300)
    assert found_again(image) == pytest.approx((150, 300 - 60), abs=2)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_an_image_cut_to_its_lungs(fit: str) -> None:
    image = np.full((500, 400), 200, np.uint8)
    for x in (124, 280):  # where the finder expects lungs
        cv2.ellipse(image, (x, 225), (50, 130), 0, 0, 360, 20, -1)
    image[200:206, 262:268] = 255
    cut = standard(encoded(image), fit=fit, crop="lungs")
    assert cut.placement is not None
    back = cut.placement.to_original(cut.pixels.astype(np.float32))
    inside = back[150:300, 250:310]  # within the right one
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    assert (row + 150, column + 250) == pytest.approx((202.5, 264.5), abs=4)
    assert not back[:20].any()
    assert not back[-20:].any()


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_of_a_ct_and_a_dicom_radiograph(frames: int) -> None:
    spot = marked(240, 320, 100, 180, 12).astype(np.uint16) * 16
    pixels = np.stack([spot] * frames) if frames > 1 else spot
    more = {"Modality": "CT", "NumberOfFrames": frames} if frames > 1 else {}
    images = images_from_bytes(
        file_of(dataset(pixels, **more), pixels), IngestSettings(size=SIZE, fit="pad")
    )
    assert isinstance(images, list)
    assert len(images) == frames
    for image in images:
        assert found_again(image) == pytest.approx((100, 180), abs=2)


def test_what_the_standard_image_does_not_show_is_zero() -> None:
    wide = Placement.of((100, 300), (100, 300), SIZE, "crop")
    back = wide.to_original(np.ones((SIZE, SIZE), np.float32))
    assert not back[:, :99].any()
    assert not back[:, 201:].any()
    assert (back[:, 101:199] == 1).all()
    assert wide.visible() == (0, 0, SIZE, SIZE)
    padded = Placement.of((100, 300), (100, 300), SIZE, "pad")
    assert padded.visible() == (32, 0, 64, SIZE)
    assert (padded.to_original(np.ones((SIZE, SIZE), np.float32)) == 1).all()


def test_a_map_of_another_size_covers_the_whole_original() -> None:
    place = Placement.of((400, 200), (400, 200), SIZE, "pad")
    heat = standard(encoded(marked(400, 200, 310, 60, 15)), fit="pad").pixels.astype(np.float32)
    small = place.to_original(heat, (100, 50))
    assert small.shape == (100, 50)
    assert centre(small) == pytest.approx((310 / 4, 60 / 4), abs=0.5)
    assert Placement.identity(8).to_original(np.eye(8, dtype=np.float32)).tolist() == (
        np.eye(8).tolist()
    )
