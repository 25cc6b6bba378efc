"""Each operation does what its name says, as other programs do it."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pulmospark.augment.apply import apply
from pulmospark.augment.operations import Operation
from pulmospark.augment.warp import matrix
from pulmospark.models.zoo.torchvision_import import import_torchvision_models

Pixels = NDArray[np.uint8]
SIDE = 224


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Pixels:
    path = sorted((shared_data / "nih-chest-xray14" / "images").glob("*.png"))[0]
    picture = Image.open(path).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(picture, np.uint8)


def one(name: str, **parameters: float) -> Operation:
    return Operation(name, parameters)


def inner(pixels: NDArray[np.generic], share: float = 0.2) -> NDArray[np.float64]:
    edge = int(share * SIDE)
    return pixels[edge:-edge, edge:-edge].astype(np.float64)


MOVES = (
    one("flip"),
    one("zoom", factor=1.06),
    one("shear", degrees=2.5),
    one("rotation", degrees=-6.0),
    one("shift", right=0.03, down=-0.02),
)


def test_one_warp_is_scipys_affine_transform(real: Pixels) -> None:
    back = np.linalg.inv(matrix(MOVES, SIDE, SIDE))[:2]
    # scipy's axes are rows and columns, ours x and y.
    swap = back[::-1, [1, 0]], back[::-1, 2]
    golden = ndimage.affine_transform(real.astype(float), *swap, order=1, mode="nearest")
    difference = np.abs(apply(real, MOVES).astype(float) - golden)
    assert difference.max() <= 3  # OpenCV's weights have 5 bits
    assert difference.mean() < 0.4


def test_composed_moves_are_the_moves_one_by_one_but_for_the_blur(real: Pixels) -> None:
    singly = real
    for step in MOVES:
        singly = apply(singly, [step])
    together = apply(real, MOVES)
    assert np.abs(inner(singly) - inner(together)).mean() < 3

    def sharpness(pixels: Pixels) -> float:
        return float(cv2.Laplacian(pixels, cv2.CV_64F)[30:-30, 30:-30].std())

    assert sharpness(together) > 1.1 * sharpness(singly)


def test_a_rotation_is_pillows(real: Pixels) -> None:
    golden = Image.fromarray(real).rotate(10, Image.Resampling.BILINEAR)
    found = apply(real, [one("rotation", degrees=10.0)])
    difference = np.abs(inner(np.asarray(golden)) - inner(found))
    assert difference.mean() < 1


def test_flip_and_shift_are_exact(real: Pixels) -> None:
    np.testing.assert_array_equal(apply(real, [one("flip")]), real[:, ::-1])
    moved = apply(real, [one("shift", right=10 / SIDE, down=-4 / SIDE)])
    np.testing.assert_array_equal(moved[:-4, 10:], real[4:, :-10])
    assert (moved[:-4, 0] == real[4:, 0]).all()  # the edge goes on


def test_a_zoom_is_pillows_and_a_lean_goes_to_the_side(real: Pixels) -> None:
    found = apply(real, [one("zoom", factor=2.0)])
    middle = real[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
    golden = np.asarray(Image.fromarray(middle).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    assert np.abs(inner(found) - inner(golden)).mean() < 1
    bar = np.zeros((101, 101), np.uint8)
    bar[:, 50] = 255
    leant = apply(bar, [one("shear", degrees=20.0)])
    wanted = 50 + math.tan(math.radians(20)) * 40
    assert abs(float(leant[90].argmax()) - wanted) <= 1
    assert leant[50].argmax() == 50


def test_bending_moves_as_far_as_it_is_told(real: Pixels) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    reach = []
    for seed in range(40):
        bent = apply(columns.astype(np.uint8), [one("elastic", share=0.01, seed=seed)])
        reach.append(inner(bent) - inner(columns))
    moved = np.concatenate(reach)
    assert abs(moved.mean()) < 0.5
    assert 0.4 * 2.24 < moved.std() < 1.3 * 2.24  # between the nodes it is less than at them
    slope = np.abs(np.diff(reach[0], axis=1))
    assert slope.max() <= 2  # smooth: no fold
    with_warp = apply(real, [*MOVES, one("elastic", share=0.0, seed=1)])
    assert np.abs(with_warp.astype(int) - apply(real, MOVES)).max() <= 8
    assert np.abs(with_warp.astype(int) - apply(real, MOVES)).mean() < 0.2
    assert rows.shape == with_warp.shape


def test_tones_are_torchvisions(real: Pixels) -> None:
    import_torchvision_models()
    from torchvision.transforms.v2 import functional as golden

    image = torch.from_numpy(real[None].astype(np.float32) / 255)
    cases: list[tuple[Operation, torch.Tensor]] = [
        (one("gamma", power=1.3), golden.adjust_gamma(image, 1.3)),
        (one("contrast", factor=1.4), golden.adjust_contrast(image, 1.4)),
        (one("brightness", share=0.1), (image + 0.1).clip(0, 1)),
    ]
    for step, wanted in cases:
        found = apply(real, [step]).astype(float)
        assert np.abs(found - 255 * wanted[0].numpy()).max() <= 0.51, step.name


def test_tones_are_rounded_once(real: Pixels) -> None:
    there_and_back = [
        one("contrast", factor=0.25),
        one("contrast", factor=4.0),
        one("gamma", power=3.0),
        one("gamma", power=1 / 3),
    ]
    assert np.abs(apply(real, there_and_back).astype(int) - real).max() <= 1


def test_equalisation_is_the_cumulative_histogram(real: Pixels) -> None:
    found = apply(real, [one("equalise")])
    counts = np.bincount(real.ravel(), minlength=256)
    first = counts[counts > 0][0]
    curve = 255 * (np.cumsum(counts) - first) / (real.size - first)
    assert np.abs(found - np.clip(curve, 0, 255)[real]).max() <= 0.51


def test_clahe_raises_local_contrast(real: Pixels) -> None:
    def local(pixels: Pixels) -> float:
        blocks = pixels.reshape(28, 8, 28, 8).astype(float)
        return float(blocks.std(axis=(1, 3)).mean())

    mild = apply(real, [one("clahe", clip_limit=1.5, tiles=8)])
    strong = apply(real, [one("clahe", clip_limit=4.0, tiles=8)])
    assert local(real) < local(mild) < local(strong)


def test_blur_is_scipys_and_none_at_nought(real: Pixels) -> None:
    found = apply(real, [one("blur", sigma=2.0)])
    golden = ndimage.gaussian_filter(real.astype(float), 2.0, mode="nearest", truncate=4)
    assert np.abs(found - golden).max() < 3
    np.testing.assert_array_equal(apply(real, [one("blur", sigma=0.0)]), real)


def test_noise_is_as_strong_as_it_is_told_and_stops_at_black_and_white() -> None:
    grey = np.full((300, 300), 128, np.uint8)
    noisy = apply(grey, [one("noise", sigma=5.0, seed=3)]).astype(float)
    assert abs(noisy.mean() - 128) < 0.1
    assert abs(noisy.std() - 5) < 0.1
    beside = np.corrcoef(noisy[:, :-1].ravel(), noisy[:, 1:].ravel())[0, 1]
    assert abs(beside) < 0.02
    for level in (0, 255):
        edge = apply(np.full((50, 50), level, np.uint8), [one("noise", sigma=9.0, seed=3)])
        assert np.abs(edge.astype(int) - level).max() < 60  # no wrapping round


def test_erasing_takes_one_rectangle(real: Pixels) -> None:
    told: Mapping[str, float] = {
        "top": 0.25, "left": 0.5, "height": 0.125, "width": 0.25, "grey": 77
    }  # fmt: skip
    found = apply(real, [Operation("erase", told)])
    assert (found[56:84, 112:168] == 77).all()
    rest = np.ones_like(real, bool)
    rest[56:84, 112:168] = False
    np.testing.assert_array_equal(found[rest], real[rest])


def test_images_stay_images(real: Pixels) -> None:
    """The defaults keep an image recognisable: strongly correlated with what it was."""
    from pulmospark.augment.augmenter import Augmenter
    from pulmospark.config.augment import AugmentSettings

    augmenter = Augmenter(AugmentSettings(), 1)
    alike, sizes = [], []
    for draw in range(40):
        changed, _ = augmenter(real, "image", draw)
        alike.append(np.corrcoef(inner(changed).ravel(), inner(real).ravel())[0, 1])
        packed = io.BytesIO()
        Image.fromarray(changed).save(packed, "PNG")
        sizes.append(len(packed.getvalue()))
    assert min(alike) > 0.6
    assert np.median(alike) > 0.85
    assert len(set(sizes)) > 30
