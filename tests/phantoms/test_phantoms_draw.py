from __future__ import annotations

import functools
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from pulmospark.phantoms.anatomy import Anatomy, Canvas, Pose, random_anatomy
from pulmospark.phantoms.draw import Person, draw_image, encode, random_person
from pulmospark.phantoms.frontal import Chest, frontal
from pulmospark.phantoms.hospitals import HOSPITALS, Hospital
from pulmospark.phantoms.opacities import Finding, Opacity

CLEAR_SEED = 0  # of an image without one of the streaks that normal images may show
UPRIGHT = Pose(1.0, 0.0, 0.0, (0.0, 0.0), 1.0, supine=False, wires=0)


def chest(finding: Finding, severity: float, seed: int, anatomy: Anatomy | None = None) -> Chest:
    canvas = Canvas(240, 240, 0.6)
    person = anatomy or random_anatomy(np.random.default_rng(11))
    opacity = Opacity(finding, severity, seed)
    return frontal(canvas, person, UPRIGHT, opacity, np.random.default_rng(7))


def small(pixels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    grey = pixels[..., 0] if pixels.ndim == 3 else pixels
    tiny = cv2.resize(grey.astype(np.float32), (48, 48), interpolation=cv2.INTER_AREA)
    return np.asarray(tiny, np.float64).ravel()


def added(finding: Finding, severity: float, seed: int) -> npt.NDArray[np.float32]:
    """What the opacity adds to the absorbance, within the lungs."""
    ill = chest(finding, severity, seed)
    return np.asarray((ill.absorbance - _clear().absorbance) * ill.lungs, np.float32)


@functools.cache
def _clear() -> Chest:
    """The same person's chest with nothing in the lungs."""
    return chest(Finding.NORMAL, 0.0, CLEAR_SEED)


def test_lungs_are_darker_than_heart_and_belly() -> None:
    drawn = _clear()
    inside = drawn.lungs > 0.99
    assert 0.15 < inside.mean() < 0.5
    canvas = Canvas(240, 240, 0.6)
    belly = (canvas.y > 262) & (np.abs(canvas.x) < 100)
    middle = (canvas.y > 150) & (canvas.y < 180) & (np.abs(canvas.x) < 15)
    dark = np.median(drawn.absorbance[inside])
    assert np.median(drawn.absorbance[belly]) > dark + 0.3
    assert np.median(drawn.absorbance[middle]) > dark + 0.3
    assert drawn.absorbance[0, 0] < 0.05


def test_heart_lies_on_the_right_of_the_image() -> None:
    drawn = _clear()
    canvas = Canvas(240, 240, 0.6)
    row = int(np.argmin(np.abs(canvas.y[:, 0] - 185)))
    air = drawn.absorbance[row] < np.median(drawn.absorbance[row]) - 0.1
    columns = canvas.x[0]
    assert np.mean(drawn.absorbance[row, (columns > 40) & (columns < 65)]) > np.mean(
        drawn.absorbance[row, (columns < -40) & (columns > -65)]
    )
    assert air.any()


def test_covid_is_in_both_lungs_low_and_peripheral() -> None:
    shares, low, side = [], [], []
    canvas = Canvas(240, 240, 0.6)
    for seed in range(12):
        more = np.maximum(added(Finding.COVID, 0.8, seed), 0)
        left, right = more[:, :120].sum(), more[:, 120:].sum()
        shares.append(min(left, right) / (left + right))
        low.append((more * canvas.y).sum() / more.sum())
        side.append((more * np.abs(canvas.x)).sum() / more.sum())
    lungs = _clear().lungs
    assert np.median(shares) > 0.2
    assert np.mean(low) > (lungs * canvas.y).sum() / lungs.sum()
    assert np.mean(side) > (lungs * np.abs(canvas.x)).sum() / lungs.sum()


def test_pneumonia_is_mostly_one_sided_and_denser_than_covid() -> None:
    shares: dict[Finding, list[float]] = {}
    peaks: dict[Finding, list[float]] = {}
    for finding in (Finding.COVID, Finding.PNEUMONIA):
        extra = [np.maximum(added(finding, 0.7, seed), 0) for seed in range(12)]
        halves = [sorted((more[:, :120].sum(), more[:, 120:].sum())) for more in extra]
        shares[finding] = [float(less / (less + most)) for less, most in halves]
        peaks[finding] = [float(np.quantile(more, 0.995)) for more in extra]
    assert np.median(shares[Finding.PNEUMONIA]) < 0.5 * np.median(shares[Finding.COVID])
    assert np.median(peaks[Finding.PNEUMONIA]) > np.median(peaks[Finding.COVID])


@pytest.mark.parametrize("finding", [Finding.COVID, Finding.PNEUMONIA])
def test_severity_grows(finding: Finding) -> None:
    sums = [
        np.mean([added(finding, severity, seed).sum() for seed in range(6)])
        for severity in (0.1, 0.5, 1.0)
    ]
    assert 0 < sums[0] < sums[1] < sums[2]


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.name)
def test_images_of_one_patient_are_more_alike_than_those_of_two(hospital: Hospital) -> None:
    images: list[list[npt.NDArray[np.float64]]] = []
    for number in range(6):
        person = same_frame(
            random_person(np.random.default_rng(number), hospital, Finding.NORMAL), hospital
        )
        both = [
            draw_image(person, hospital, np.random.default_rng((number, image))).pixels
            for image in range(2)
        ]
        assert not np.array_equal(both[0], both[1])
        images.append([small(pixels) for pixels in both])
    within = [np.corrcoef(a, b)[0, 1] for a, b in images]
    between = [
        np.corrcoef(images[i][0], images[j][1])[0, 1] for i in range(6) for j in range(6) if i != j
    ]
    assert np.mean(within) > np.mean(between)
    assert np.mean(within) < 0.9999


def same_frame(person: Person, hospital: Hospital) -> Person:
    return replace(person, view="PA", size=hospital.sizes[0], encoding=hospital.encodings[0])


def test_hospitals_have_a_look_of_their_own() -> None:
    """Grey levels alone tell the hospital of most images: the planted shortcut."""
    features, truth = [], []
    for index, hospital in enumerate(HOSPITALS):
        for number in range(8):
            rng = np.random.default_rng((index, number))
            person = random_person(rng, hospital, list(Finding)[number % 3])
            pixels = draw_image(person, hospital, rng).pixels.astype(np.float64)
            pixels /= 65535 if pixels.max() > 255 else 255
            features.append(np.quantile(pixels, np.linspace(0.05, 0.95, 10)))
            truth.append(index)
    x, y = np.array(features), np.array(truth)
    right = 0
    for image in range(len(x)):
        rest = np.arange(len(x)) != image
        centres = [x[rest & (y == index)].mean(axis=0) for index in range(len(HOSPITALS))]
        right += int(np.argmin([np.square(x[image] - c).sum() for c in centres]) == y[image])
    assert right / len(x) > 0.7


def test_lateral_differs_from_frontal_and_says_so() -> None:
    hospital = HOSPITALS[0]
    person = random_person(np.random.default_rng(1), hospital, Finding.COVID)
    front = draw_image(person, hospital, np.random.default_rng(2))
    side = draw_image(person, hospital, np.random.default_rng(2), side_view=True)
    assert (front.view, side.view) == ("PA", "L")
    assert np.corrcoef(small(front.pixels), small(side.pixels))[0, 1] < 0.9


def test_sixteen_bits_survive_the_file() -> None:
    hospital = HOSPITALS[0]
    person = random_person(np.random.default_rng(4), hospital, Finding.NORMAL)
    image = draw_image(replace(person, encoding="png-16"), hospital, np.random.default_rng(4))
    back = cv2.imdecode(np.frombuffer(encode(image), np.uint8), cv2.IMREAD_UNCHANGED)
    assert back is not None
    assert image.pixels.dtype == back.dtype == np.uint16
    assert np.array_equal(back, image.pixels)
    assert int(image.pixels.max()) - int(image.pixels.min()) > 40_000
