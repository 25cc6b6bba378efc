"""Geometric operations, composed so that an image is resampled once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from pulmospark.augment.operations import Operation, OperationName
from pulmospark.augment.random_stream import normal_quantiles, sixteen_bits
from pulmospark.core.arrays import Floats, Pixels, Singles

Parameters = Mapping[str, float]

_NODES = 4
"""nodes of the elastic field per side, as in the U-Net paper's grid of 3 x 3 cells"""

_EDGE = cv2.BORDER_REPLICATE
"""Edge pixels are replicated. Black corners would let a network recognise rotated images, and a
mirrored edge shows ribs and arms twice."""


def warp(pixels: Pixels, operations: Sequence[Operation]) -> Pixels:
    """Apply geometric operations in order, with bilinear interpolation.

    Consecutive affine operations, and an elastic one after them, are one warp.

    Args:
        pixels: (h, w) uint8.
        operations: geometric ones.

    Returns:
        (h, w) uint8.
    """
    run: list[Operation] = []
    for operation in operations:
        run.append(operation)
        if operation.name is OperationName.ELASTIC:
            pixels, run = _deformed(pixels, run), []
    if not run:
        return pixels
    height, width = pixels.shape
    moved = cv2.warpAffine(
        pixels,
        matrix(run, height, width)[:2],
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=_EDGE,
    )
    return np.asarray(moved, np.uint8)


def matrix(operations: Sequence[Operation], height: int, width: int) -> Floats:
    """The affine map of pixel coordinates (x, y, 1) from an image to the augmented image; (3, 3).

    Angles are anticlockwise as displayed; everything except the shift is relative to the image's
    centre.

    Args:
        operations: affine ones, in order of application.
        height: of the image, pixels.
        width: of the image, pixels.
    """
    centre = _translation((width - 1) / 2, (height - 1) / 2)
    back = _translation(-(width - 1) / 2, -(height - 1) / 2)
    whole = np.eye(3)
    for operation in operations:
        parameters = operation.parameters
        if operation.name is OperationName.SHIFT:
            step = _translation(parameters["right"] * width, parameters["down"] * height)
        else:
            step = centre @ _AFFINE[operation.name](parameters) @ back
        whole = step @ whole
    return whole


def _deformed(pixels: Pixels, run: Sequence[Operation]) -> Pixels:
    *affine, elastic = run
    height, width = pixels.shape
    across, down = _displacement(elastic.parameters, height, width)
    across += np.arange(width, dtype=np.float32)[None, :]
    down += np.arange(height, dtype=np.float32)[:, None]
    inverse = np.linalg.inv(matrix(affine, height, width)).astype(np.float32)
    from_x = inverse[0, 0] * across + inverse[0, 1] * down + inverse[0, 2]
    from_y = inverse[1, 0] * across + inverse[1, 1] * down + inverse[1, 2]
    moved = cv2.remap(pixels, from_x, from_y, cv2.INTER_LINEAR, borderMode=_EDGE)
    return np.asarray(moved, np.uint8)


def _displacement(parameters: Parameters, height: int, width: int) -> tuple[Singles, Singles]:
    """Normal displacements of a few nodes, interpolated (Ronneberger et al., 2015, 3.1)."""
    drawn = normal_quantiles()[sixteen_bits(int(parameters["seed"]), 2 * _NODES * _NODES)]
    nodes = drawn.reshape(2, _NODES, _NODES) * np.float32(parameters["share"])
    across, down = (
        cv2.resize(nodes[axis] * np.float32(side), (width, height), interpolation=cv2.INTER_CUBIC)
        for axis, side in enumerate((width, height))
    )
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _translation(right: float, down: float) -> Floats:
    return np.array([[1.0, 0.0, right], [0.0, 1.0, down], [0.0, 0.0, 1.0]])


def _flip(_: Parameters) -> Floats:
    return np.diag([-1.0, 1.0, 1.0])


def _zoom(parameters: Parameters) -> Floats:
    return np.diag([parameters["factor"], parameters["factor"], 1.0])


def _shear(parameters: Parameters) -> Floats:
    lean = math.tan(math.radians(parameters["degrees"]))
    return np.array([[1.0, lean, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _rotation(parameters: Parameters) -> Floats:
    # y points down: anticlockwise on the display is clockwise in the formula.
    cosine, sine = (f(math.radians(parameters["degrees"])) for f in (math.cos, math.sin))
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])


_AFFINE: Mapping[OperationName, Callable[[Parameters], Floats]] = {
    OperationName.FLIP: _flip,
    OperationName.ZOOM: _zoom,
    OperationName.SHEAR: _shear,
    OperationName.ROTATION: _rotation,
}
