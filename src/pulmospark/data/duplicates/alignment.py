"""Overlay two images: whether they are one, cropped, resized or toned differently."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pulmospark.core.arrays import Floats, Mask, Pixels, Singles

_ITERATIONS = 40
_EPSILON = 1e-4
_BLUR = 5
_SCALE_MAX = 0.3
"""how much a copy may be cropped or stretched, as a share of its sides"""
_COVER_MIN = 0.6
_TILES, _TILE_COVER_MIN = 5, 0.7
_TURN_FREE, _TURN_COST = 0.004, 8.0
"""rotation or shear of the map without a penalty, radians, and the penalty: copies are cropped and
stretched, and 19 in 20 known ones rotated less; two people only fit when rotated"""
_DETAIL, _QUICK_DETAIL = 1 / 28, 1 / 16
"""standard deviation of the blur that is subtracted to leave details, as a share of the side"""
_ROUNDED_ONE = 1.001
"""no correlation is above, however its sums are rounded"""
_QUICK_SIDE = 56
_QUICK_MIN = 0.75
"""correlation at half size below which the full size is not compared: copies have at least 0.8
there, and images of others seldom reach it"""


def overlay_correlation(first: Pixels, second: Pixels) -> float:
    """Correlation of the details of two images after one is laid over the other.

    The affine map maximises the enhanced correlation coefficient (Evangelidis and Psarakis 2008),
    which is invariant to brightness and contrast; then details finer than an eighth of the
    picture are compared, since all chests are alike in coarser ones.

    Args:
        first: (h, w) uint8.
        second: (h, w) uint8.

    Returns:
        -1 to 1; 0 if they already differ at half size, or there is no plausible map (a crop or
        stretch by more than 30 %, a rotation, or a small overlap).
    """
    quick = (_QUICK_SIDE, _QUICK_SIDE)
    small = [cv2.resize(image, quick, interpolation=cv2.INTER_AREA) for image in (first, second)]
    rough = _overlaid(small[0], small[1], _QUICK_DETAIL, least=_QUICK_MIN)
    if rough == 0.0:  # no map: the search may end otherwise with the images swapped
        first, second = second, first
        rough = _overlaid(small[1], small[0], _QUICK_DETAIL, least=_QUICK_MIN)
    return _overlaid(first, second, _DETAIL) if rough >= _QUICK_MIN else 0.0


def _overlaid(first: Pixels, second: Pixels, share: float, *, least: float = -math.inf) -> float:
    """As :func:`overlay_correlation` at one size; below ``least`` an upper bound may do."""
    warp = np.eye(2, 3, dtype=np.float32)
    until = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ITERATIONS, _EPSILON)
    try:
        _, fitted = cv2.findTransformECC(
            first.astype(np.float32), second.astype(np.float32), warp, cv2.MOTION_AFFINE, until,
            None, _BLUR,
        )  # fmt: skip
    except cv2.error:  # no convergence: they have nothing in common
        return 0.0
    if np.abs(fitted[:, :2] - np.eye(2)).max() > _SCALE_MAX:
        return 0.0
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (first.shape[1], first.shape[0])
    covered = cv2.warpAffine(np.ones(second.shape, np.float32), fitted, size, flags=how) > 0.99
    if covered.mean() < _COVER_MIN:
        return 0.0
    turned = float(max(abs(fitted[0, 1]), abs(fitted[1, 0])))
    cost = _TURN_COST * max(0.0, turned - _TURN_FREE)
    if (bound := _ROUNDED_ONE - cost) < least:
        return bound
    one, other = _detail(first, share), _detail(second, share)
    laid = cv2.warpAffine(other, fitted, size, flags=how)
    return _middle_correlation(one, laid, covered) - cost


def _detail(image: Pixels, share: float) -> Singles:
    """Local contrast: the image less its blur, over its local spread."""
    grey = image.astype(np.float32)
    sigma = share * image.shape[0]
    less = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
    spread = np.sqrt(cv2.GaussianBlur(less * less, (0, 0), sigma))
    return np.asarray(less / (spread + 4.0), np.float32)


def _middle_correlation(one: Singles, other: Singles, covered: Mask) -> float:
    """Median over tiles: text, arrows and tubes in only one copy affect few tiles."""
    first, second, inside = _tiles(one), _tiles(other), _tiles(covered)
    counts = inside.sum(axis=1)
    whole = counts == inside.shape[1]
    partial = np.flatnonzero((counts > _TILE_COVER_MIN * inside.shape[1]) & ~whole)
    correlations = [
        _correlations(first[whole], second[whole]),
        *(
            _correlations(first[None, tile, inside[tile]], second[None, tile, inside[tile]])
            for tile in partial
        ),
    ]
    values = np.concatenate(correlations)
    return float(np.median(values)) if values.size >= _TILES else 0.0


def _tiles(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The tiles of a square picture, (tiles, pixels)."""
    side = picture.shape[0] // _TILES
    cut = picture[: side * _TILES, : side * _TILES].reshape(_TILES, side, _TILES, side)
    return cut.swapaxes(1, 2).reshape(_TILES * _TILES, side * side)


def _correlations(one: Singles, other: Singles) -> Floats:
    """Correlation of each row, float64 (n,)."""
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    norms = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
    products = (one * other).sum(axis=1, dtype=np.float32).astype(np.float64)
    correlations = np.zeros(len(products))
    np.divide(products, norms, out=correlations, where=norms > 0)
    return correlations
