from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pulmospark.imaging.standardise import perceptual_hash, standardise

Grey = NDArray[np.uint8]
Fit = Literal["stretch", "pad", "crop"]


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(16, 700),
    width=st.integers(16, 700),
    size=st.integers(16, 300),
    fit=st.sampled_from(["stretch", "pad", "crop"]),
)
def test_a_square_of_the_same_grey(height: int, width: int, size: int, fit: Fit) -> None:
    result = standardise(np.full((height, width), 77, np.uint8), size, fit)
    assert result.shape == (size, size)
    assert result.dtype == np.uint8
    assert result.flags["C_CONTIGUOUS"]
    assert set(np.unique(result)) <= ({0, 77} if fit == "pad" else {77})


def test_pad_centres_the_image_on_black() -> None:
    result = standardise(np.full((100, 200), 90, np.uint8), 64, "pad")
    assert (result[16:48] == 90).all()
    assert not result[:16].any()
    assert not result[48:].any()


def test_crop_takes_the_centre() -> None:
    grey = np.zeros((100, 300), np.uint8)
    grey[:, 100:200] = 200
    assert (standardise(grey, 50, "crop") == 200).all()
    assert (standardise(grey, 200, "crop") == 200).all()


def test_a_long_strip_stays_small() -> None:
    strip = np.zeros((16, 1_000_000), np.uint8)
    for fit in ("stretch", "pad", "crop"):
        assert standardise(strip, 224, fit).shape == (224, 224)


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (600, 300))
    result = standardise(stripes, 150, "stretch")
    assert np.abs(result.astype(int) - 127).max() <= 1
    one_axis = standardise(stripes[:100], 150, "stretch")  # the other axis grows
    assert np.abs(one_axis.astype(int) - 127).max() <= 1


def test_extent_leaves_out_what_lies_beyond_the_image(drawn: Grey) -> None:
    whole = cv2.resize(drawn, (400, 400))
    beyond = np.hstack([whole, np.full((400, 1), 255, np.uint8)])
    kept = standardise(beyond, 100, "stretch", (400.0, 400.0))
    assert np.abs(kept.astype(int) - standardise(whole, 100, "stretch")).max() <= 2
    assert standardise(beyond, 100, "stretch")[:, -1].mean() > kept[:, -1].mean() + 5


def distance(one: int, other: int) -> int:
    return ((one ^ other) & 0xFFFF_FFFF_FFFF_FFFF).bit_count()


@pytest.fixture(scope="module")
def real_images(shared_data: Path) -> list[Grey]:
    paths = sorted((shared_data / "nih-chest-xray14" / "images").iterdir())[::3]
    return [np.asarray(Image.open(path).convert("L")) for path in paths]


def hash_of(grey: Grey) -> int:
    return perceptual_hash(standardise(grey, 224, "stretch"))


def recompressed(grey: Grey, quality: int) -> Grey:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def test_twins_have_near_hashes(real_images: list[Grey]) -> None:
    for grey in real_images:
        here = hash_of(grey)
        assert distance(here, hash_of(cv2.resize(grey, (300, 340)))) <= 6
        assert distance(here, hash_of(recompressed(grey, 40))) <= 6
        brighter = np.clip(grey.astype(float) * 0.8 + 20, 0, 255).astype(np.uint8)
        assert distance(here, hash_of(brighter)) <= 6


def test_different_images_have_far_hashes(real_images: list[Grey]) -> None:
    hashes = [hash_of(grey) for grey in real_images]
    far = [distance(one, other) > 10 for one, other in pairwise(hashes)]
    far += [distance(hashes[0], other) > 10 for other in hashes[2:]]
    assert np.mean(far) > 0.9


@pytest.mark.parametrize("size", [16, 32, 224, 1024])
def test_hash_fits_a_signed_64_bit_column(drawn: Grey, size: int) -> None:
    value = perceptual_hash(standardise(drawn, size, "stretch"))
    assert -(2**63) <= value < 2**63
    mirrored = perceptual_hash(standardise(np.fliplr(drawn).copy(), size, "stretch"))
    assert distance(value, mirrored) > 10


def test_hash_is_pinned(drawn: Grey) -> None:
    """Stored hashes are compared with new ones: a change of the formula must be meant."""
    pinned = -2254696063495221343
    # Builds of OpenCV may round differently: bits near the median may flip.
    assert distance(perceptual_hash(standardise(drawn, 224, "stretch")), pinned) <= 2
