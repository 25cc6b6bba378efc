"""One image laid over another: copies fit, other people do not."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from pulmospark.config.audit import AuditSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.data.duplicates.alignment import _overlaid, overlay_correlation
from pulmospark.data.duplicates.fingerprints import SMALL_SIDE
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import image_from_bytes
from pulmospark.imaging.standardise import resized
from pulmospark.phantoms.draw import draw_image, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding

StandardImage = npt.NDArray[np.uint8]
LIMIT = AuditSettings().copy_correlation


def _image(seed: int) -> StandardImage:
    random = np.random.default_rng(seed)
    person = random_person(random, HOSPITALS[0], list(Finding)[seed % 3])
    image = image_from_bytes(encode(draw_image(person, HOSPITALS[0], random)), IngestSettings())
    assert not isinstance(image, Rejected)
    return image.pixels


@pytest.fixture(scope="module")
def images() -> list[StandardImage]:
    return [_image(seed) for seed in range(6)]


def _small(image: StandardImage) -> StandardImage:
    return resized(np.ascontiguousarray(image), SMALL_SIDE, SMALL_SIDE)


@pytest.mark.parametrize("cut", [0.0, 0.03, 0.06])
def test_a_copy_fits_whatever_was_cut_and_toned(images: list[StandardImage], cut: float) -> None:
    for image in images:
        height, width = image.shape[:2]
        top, left = round(cut * height), round(cut * width)
        copy = image[top : height - top, left : width - left]
        copy = (255 * (copy / 255.0) ** 0.8).astype(np.uint8)
        copy = cv2.resize(copy, (300, 280), interpolation=cv2.INTER_AREA)
        assert overlay_correlation(_small(image), _small(copy)) > LIMIT


def test_images_of_others_do_not_fit(images: list[StandardImage]) -> None:
    found = [
        overlay_correlation(_small(one), _small(other))
        for place, one in enumerate(images)
        for other in images[place + 1 :]
    ]
    assert max(found) < LIMIT


def test_what_shows_nothing_fits_nothing() -> None:
    flat = np.zeros((SMALL_SIDE, SMALL_SIDE), np.uint8)
    assert overlay_correlation(flat, flat) == 0.0


def test_a_bound_is_given_only_where_the_correlation_is_below_the_least(
    images: list[StandardImage],
) -> None:
    small = [_small(image) for image in images]
    turned = cv2.getRotationMatrix2D((SMALL_SIDE / 2, SMALL_SIDE / 2), 3, 1)
    small += [np.asarray(cv2.warpAffine(one, turned, one.shape), np.uint8) for one in small]
    bounds = 0
    for first in small:
        for second in small:
            whole = _overlaid(first, second, 1 / 28)
            quick = _overlaid(first, second, 1 / 28, least=0.75)
            bounds += quick != whole
            assert quick == whole or whole <= quick < 0.75
    assert bounds
