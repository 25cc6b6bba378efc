"""Brushes: polygons, bands and clouds on a canvas."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pulmospark.core.arrays import Pixels, Reals, Singles
from pulmospark.phantoms.anatomy import Canvas

_SHIFT = 4  # OpenCV's fixed-point bits below the pixel


def _fixed(canvas: Canvas, points: Reals) -> npt.NDArray[np.int32]:
    return np.asarray(np.rint(canvas.pixels(points) * (1 << _SHIFT)), np.int32)


def polygon(canvas: Canvas, points: Reals, soft: float = 0.0) -> Singles:
    """A filled polygon of (n, 2) points, 0 to 1; ``soft``: standard deviation of its edge, mm."""
    layer = np.zeros(canvas.shape, np.uint8)
    polygon_into(layer, canvas, points, 255)
    return soft_unit(layer, soft * canvas.scale)


def polygon_into(layer: Pixels, canvas: Canvas, points: Reals, value: int) -> None:
    """Draw a filled polygon of (n, 2) points onto ``layer``."""
    cv2.fillPoly(layer, [_fixed(canvas, points)], value, cv2.LINE_AA, _SHIFT)


def bands(
    layer: Pixels,
    canvas: Canvas,
    curves: Sequence[Reals],
    width: float,
    value: int = 255,
) -> None:
    """Draw curves of (n, 2) points each, ``width`` mm broad; they replace what lies there."""
    cv2.polylines(
        layer,
        list(_fixed(canvas, np.stack(curves))),
        False,
        value,
        max(1, round(width * canvas.scale)),
        cv2.LINE_AA,
        _SHIFT,
    )


def unit(layer: Pixels) -> Singles:
    """uint8 to float32, 0 to 1, of the same shape."""
    return np.multiply(layer, np.float32(1 / 255), dtype=np.float32)


def soft_unit(layer: Pixels, sigma: float) -> Singles:
    """:func:`unit` of (h, w) after a Gaussian blur of ``sigma`` pixels, quick on bytes."""
    return unit(cv2.GaussianBlur(layer, (0, 0), sigma) if sigma >= 0.3 else layer)


def blur(picture: Singles, sigma: float) -> Singles:
    """Gaussian blur of (h, w), ``sigma`` in pixels; broad ones run on a smaller picture."""
    if sigma < 0.3:
        return picture
    if sigma < 5:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)
    factor = int(sigma // 2.5)
    height, width = picture.shape
    small = cv2.resize(
        picture, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA
    )
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor)
    return enlarge(small, picture.shape)


def enlarge(picture: Singles, shape: tuple[int, ...]) -> Singles:
    """Stretch to ``shape``, linear."""
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.float32)


def cloud(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> Singles:
    """Smooth noise of ``shape``, mean 0, standard deviation about 1; ``grain``: period, pixels."""
    height, width = (max(4, int(2 * side / grain) + 2) for side in shape)
    small = rng.standard_normal((height, width), dtype=np.float32)
    # without the blur the grid of the small picture would be seen in the large one
    small = cv2.GaussianBlur(small, (0, 0), 1.0) * np.float32(2 * np.sqrt(np.pi))
    return enlarge(small, shape)


def ellipse(
    canvas: Canvas, centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0
) -> Singles:
    """Squared distance from ``centre`` in units of ``radii`` (mm), turned by ``angle`` (rad).

    Of the canvas's shape."""
    x, y = canvas.x - np.float32(centre[0]), canvas.y - np.float32(centre[1])
    cos, sin = np.float32(np.cos(angle) / radii[0]), np.float32(np.sin(angle) / radii[0])
    cos2, sin2 = np.float32(np.cos(angle) / radii[1]), np.float32(np.sin(angle) / radii[1])
    along, across = x * cos + y * sin, y * cos2 - x * sin2
    return np.asarray(along * along + across * across, np.float32)


def fade(distance: Singles) -> Singles:
    """From 1 (far below 0) to 0 (far above): logistic function of ``-distance``; same shape."""
    return np.asarray(np.float32(0.5) - np.float32(0.5) * np.tanh(distance / 2), np.float32)
