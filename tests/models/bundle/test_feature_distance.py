"""Distances from the training images: against scikit-learn's probabilistic PCA."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import lognorm
from sklearn.decomposition import PCA

from pulmospark.core import limits
from pulmospark.core.errors import BundleError
from pulmospark.models.bundle.feature_distance import FeatureDistance, fence_of, fit_distance

WIDTH = 24


def features(count: int, seed: int) -> np.ndarray:
    """Correlated, far from the origin, of unlike scales; squares, so that roots are Gaussian."""
    mix = np.random.default_rng(1).normal(size=(WIDTH, WIDTH)) * np.geomspace(5, 0.05, WIDTH)
    gaussian = np.random.default_rng(seed).normal(size=(count, WIDTH)) @ mix + 7
    return (np.sign(gaussian) * gaussian**2).astype(np.float32)


def rooted(values: np.ndarray) -> np.ndarray:
    roots: np.ndarray = np.copysign(np.abs(values.astype(np.float64)) ** 0.5, values)
    return roots


def test_distances_are_those_of_scikit_learn_s_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DISTANCE_RANK_MAX", 6)
    known, new = features(400, 2), features(50, 3)
    distance, _ = fit_distance(known, np.arange(400))
    pca = PCA(n_components=6, svd_solver="full").fit(rooted(known))
    centred = rooted(new) - pca.mean_
    squares = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(pca.get_covariance()), centred)
    assert distance.of(new) == pytest.approx(np.sqrt(squares / WIDTH), rel=1e-4)


@pytest.mark.parametrize("patterns", [3, 150])
def test_the_axes_are_those_of_a_singular_value_decomposition(patterns: int) -> None:
    """More features than images, which repeat a few patterns: most directions hold nothing."""
    random = np.random.default_rng(9)
    known = random.normal(size=(patterns, 400))[np.arange(150) % patterns].astype(np.float32)
    distance, _ = fit_distance(known, np.arange(150))
    values = rooted(known)
    _, singular, axes = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    held = min(len(distance.axes), patterns - 1)
    alike = np.abs(np.einsum("ij,ij->i", axes[:held], distance.axes[:held].astype(float)))
    if patterns == 150:  # three patterns at equal counts have equal variances: axes can turn
        assert alike == pytest.approx(1, abs=1e-4)
    assert distance.variances[:held] == pytest.approx(singular[:held] ** 2 / 149, rel=1e-4)
    assert distance.axes @ distance.axes.T == pytest.approx(np.eye(len(distance.axes)), abs=1e-5)


def test_each_image_is_measured_by_those_of_other_patients() -> None:
    """Ten patients, each with twenty copies of one image: by itself each would be at hand."""
    known = np.repeat(features(10, 4), 20, axis=0)
    groups = np.repeat(np.arange(10), 20)
    distance, measured = fit_distance(known, groups)
    assert measured.min() > 1.5 * distance.of(known).max()


@pytest.mark.parametrize(("count", "place"), [(500, 496), (999, 990), (1999, 1980)])
def test_the_fence_is_the_conformal_quantile(count: int, place: int) -> None:
    """The ceil(0.99 (n + 1))-th smallest."""
    distances = np.random.default_rng(5).permutation(np.arange(1.0, count + 1))
    assert fence_of(distances) == place


def test_the_fence_of_few_is_a_log_normal_quantile() -> None:
    distances = np.random.default_rng(5).lognormal(0.1, 0.2, 150)
    _, _, scale = lognorm.fit(distances, floc=0)
    sigma = np.log(distances).std(ddof=1)
    assert fence_of(distances) == pytest.approx(lognorm.ppf(0.99, sigma, scale=scale))


def test_one_new_image_in_a_hundred_is_beyond_the_fence() -> None:
    _, measured = fit_distance(features(1000, 6), np.arange(1000))
    distance, _ = fit_distance(features(1000, 6), np.arange(1000))
    share = (distance.of(features(20_000, 7)) > fence_of(measured)).mean()
    assert 0.004 < share < 0.02


def test_a_file_gives_it_back_and_another_is_refused() -> None:
    distance, _ = fit_distance(features(100, 8), np.arange(100))
    content = distance.to_bytes()
    again = FeatureDistance.from_bytes(content, "x")
    assert np.array_equal(again.of(features(9, 9)), distance.of(features(9, 9)))
    broken = FeatureDistance(distance.mean[:5], distance.axes, distance.variances, distance.rest)
    for bad in (b"no tensors", content[:-4], broken.to_bytes()):
        with pytest.raises(BundleError, match="x: not valid feature statistics"):
            FeatureDistance.from_bytes(bad, "x")


def test_what_is_no_number_is_infinitely_far() -> None:
    distance, _ = fit_distance(features(100, 10), np.arange(100))
    odd = features(2, 11)
    odd[0, 3] = np.nan
    assert np.isinf(distance.of(odd)).tolist() == [True, False]


def test_a_distance_does_not_depend_on_the_images_beside_it() -> None:
    """A served image is scored alone; to the last digit, it is as far away as in a batch."""
    known = np.random.default_rng(5).normal(size=(200, 1280)).astype(np.float32)
    distance, _ = fit_distance(known, np.arange(200))
    together = distance.of(known[:33])
    for count in (1, 2, 3, 5, 8, 16):
        apart = [distance.of(known[at : min(at + count, 33)]) for at in range(0, 33, count)]
        assert np.concatenate(apart).tolist() == together.tolist()


def test_the_statistics_do_not_depend_on_the_number_of_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, groups = features(300, 11), np.arange(300) // 2
    fitted = {}
    for cores in (1, 3):
        monkeypatch.setattr("pulmospark.core.machine.cores", lambda cores=cores: cores)
        distance, measured = fit_distance(known, groups)
        fitted[cores] = (distance.to_bytes(), measured.tobytes())
    assert fitted[1] == fitted[3]
