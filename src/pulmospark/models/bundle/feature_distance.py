"""Distance of an image from the training images in a network's feature space.

The Mahalanobis distance of Lee et al. ("A Simple Unified Framework for Detecting
Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018), with one Gaussian for all
classes, whose covariance has the largest principal components of the features and one variance
along all other directions (probabilistic PCA; Tipping and Bishop 1999). A signed square root first
makes the features more Gaussian, because those of most networks are means of ReLU outputs: without
it, images with little activation (teeth, uniform grey) lay within the fence. Only a mean and a few
directions are stored: a few hundred kB, and nothing of any single image.
"""

from __future__ import annotations

import functools
import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pulmospark.config.base import Settings
from pulmospark.core import limits, machine
from pulmospark.core.arrays import Floats, Reals, Singles
from pulmospark.core.blas import one_blas_thread
from pulmospark.core.errors import BundleError, PlatformError
from pulmospark.store.store import open_store
from pulmospark.store.uri import is_store_uri, parse_uri

_FOLDS = 5
_IMAGES_PER_COMPONENT = 16
"""images per principal component: with more components per image, teeth passed as chests"""
_FITS_AT_ONCE = 4
"""fits in parallel, at most: each holds a copy of the features in float64"""
_DAMAGED = "not valid feature statistics: get the bundle again"
_NAMES = ("axes", "mean", "rest", "variances")


class DistanceFacts(Settings):
    """Facts in a bundle about the statistics of its training images."""

    fence: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    """distance above which an image counts as out of distribution"""
    quantile: Annotated[float, Field(gt=0.0, lt=1.0)]
    """share of the training images within the fence, cross-validated by group"""
    images: Annotated[int, Field(ge=1, le=limits.EVALUATION_ROWS_MAX)]
    """number of training images"""
    rank: Annotated[int, Field(ge=1)]
    """number of principal components"""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """of the file with the statistics"""


@dataclass(frozen=True, eq=False)
class FeatureDistance:
    """A Gaussian of the signed square roots of deep features.

    Attributes:
        mean: (width,) float32.
        axes: (rank, width) float32, orthonormal principal axes.
        variances: (rank,) float32, along the axes.
        rest: variance along every other direction.
    """

    mean: Singles
    axes: Singles
    variances: Singles
    rest: float

    def of(self, features: Reals) -> Floats:
        """Root mean squared distance over the directions, (n,): about 1 for training images.

        Args:
            features: (n, width); a row that is not finite is infinitely far.
        """
        centred = _even(features) - self.mean
        # Not BLAS: its last digit depends on how many images and threads work together, and a
        # served image has the same distance as one scored in a batch.
        along = np.einsum("ij,kj->ik", centred, self.axes.astype(np.float64))
        squares = np.einsum("ij,ij->i", centred, centred)
        residual = np.maximum(squares - np.einsum("ij,ij->i", along, along), 0.0)
        total = (along**2 / self.variances.astype(np.float64)).sum(axis=1) + residual / self.rest
        distances = np.sqrt(total / len(self.mean))
        return np.where(np.isfinite(distances), distances, np.inf)

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        rest = np.asarray([self.rest], np.float64)
        tensors = dict(zip(_NAMES, (self.axes, self.mean, rest, self.variances), strict=True))
        content: bytes = save({name: np.ascontiguousarray(t) for name, t in tensors.items()})
        return content

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> FeatureDistance:
        """From a safetensors file.

        Raises:
            BundleError: the content is invalid.
        """
        try:
            tensors = load(content)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{where}: {_DAMAGED}") from error
        if sorted(tensors) != list(_NAMES):
            raise BundleError(f"{where}: {_DAMAGED}")
        axes, mean, rest, variances = (tensors[name] for name in _NAMES)
        if not _fit_together(axes, mean, rest, variances):
            raise BundleError(f"{where}: {_DAMAGED}")
        return cls(mean, axes, variances, float(rest[0]))


def _fit_together(axes: Any, mean: Any, rest: Any, variances: Any) -> bool:
    return bool(
        (axes.ndim, mean.ndim, variances.ndim, rest.shape) == (2, 1, 1, (1,))
        and axes.shape == (len(variances), len(mean))
        and all(np.isfinite(tensor).all() for tensor in (axes, mean, rest, variances))
        and rest[0] > 0
        and (variances > 0).all()
    )


@functools.lru_cache(maxsize=4)
def open_distance(path: str) -> FeatureDistance:
    """Read the statistics that the driver wrote for its workers; once per process.

    Args:
        path: of the file, named by its content, or its address in a store.

    Raises:
        PlatformError: the file is not visible here.
        SourceUnavailableError: the store fails.
    """
    if is_store_uri(path):
        uri = parse_uri(path)
        return FeatureDistance.from_bytes(open_store(uri).get(uri.key), path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise PlatformError(
            f"{path}: not found on this worker: keep the work folder on storage that every worker "
            "mounts"
        ) from error
    return FeatureDistance.from_bytes(content, path)


def fit_distance(features: Reals, groups: npt.NDArray[Any]) -> tuple[FeatureDistance, Floats]:
    """Fit the Gaussian, and cross-validate the distance of each image by group.

    Args:
        features: (n, width) of training images; at least ``limits.DISTANCE_IMAGES_MIN``.
        groups: (n,), equal for images of one patient, which are similar.

    Returns:
        The Gaussian of all, and the cross-validated distances (n,).
    """
    # Before the limit, which reaches only libraries that are loaded; scoring needs no scipy.
    importlib.import_module("scipy.linalg")
    _, numbers = np.unique(groups, return_inverse=True)
    folds = numbers % _FOLDS
    distances = np.empty(len(features))

    def measure(fold: int) -> None:
        inside = folds == fold
        distances[inside] = _gaussian(features[~inside]).of(features[inside])

    threads = min(machine.cores(), _FITS_AT_ONCE)
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        final = pool.submit(_gaussian, features)
        for _ in pool.map(measure, np.unique(folds).tolist()):
            pass  # raises what a fold raised
        return final.result(), distances


def fence_of(distances: Floats, quantile: float = limits.DISTANCE_QUANTILE) -> float:
    """From distances (n,), the one below which a given share of images from the same sources lie.

    With many images it is an order statistic. As in split conformal prediction, the quantile is
    raised by one image, so that the share holds for new images. With fewer than
    ``limits.DISTANCE_ORDERED_MIN`` the order statistic would be one of the largest values, which
    are outliers; then it is the quantile of a log-normal distribution.
    """
    if len(distances) < limits.DISTANCE_ORDERED_MIN:
        logs = np.log(np.maximum(distances, np.finfo(np.float64).tiny))
        from scipy.special import ndtri  # noqa: PLC0415 - scoring needs no scipy

        return float(np.exp(logs.mean() + ndtri(quantile) * logs.std(ddof=1)))
    place = min(int(np.ceil((len(distances) + 1) * quantile)), len(distances))
    return float(np.sort(distances)[place - 1])


def _even(features: Reals) -> Floats:
    values = features.astype(np.float64)
    return np.sign(values) * np.sqrt(np.abs(values))


def _gaussian(features: Reals) -> FeatureDistance:
    values = _even(features)
    images, width = values.shape
    mean = values.mean(axis=0)
    values -= mean
    rank = max(1, min(limits.DISTANCE_RANK_MAX, images // _IMAGES_PER_COMPONENT, width - 1))
    axes, squares = _principal(values, rank)
    free = max(images - 1, 1)
    variances, total = squares / free, float(np.square(values).sum()) / free
    floor = max(total, 1.0) * 1e-9
    rest = max((total - float(variances.sum())) / (width - rank), floor)
    return FeatureDistance(
        mean=mean.astype(np.float32),
        axes=axes.astype(np.float32),
        variances=np.maximum(variances, rest).astype(np.float32),
        rest=rest,
    )


def _principal(centred: Floats, rank: int) -> tuple[Floats, Floats]:
    """The largest principal axes (rank, width), and the sum of squares along each (rank,).

    From the smaller of the two products of the matrix with itself: a singular value
    decomposition would compute all axes, in ten times the time.
    """
    from scipy import linalg  # noqa: PLC0415 - scoring needs no scipy

    images, width = centred.shape
    product = centred.T @ centred if width <= images else centred @ centred.T
    most = len(product) - 1
    squares, vectors = linalg.eigh(product, subset_by_index=(most - rank + 1, most))
    if width > images:  # QR, not a division by the squares' roots: some may be 0
        vectors, _ = np.linalg.qr(centred.T @ vectors[:, ::-1])
        return vectors.T, squares[::-1]
    return vectors.T[::-1], squares[::-1]
