"""Grey levels: equalisation, tone curves, blur, noise, erasing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pulmospark.augment.operations import Operation, OperationName
from pulmospark.augment.random_stream import normal_quantiles, sixteen_bits
from pulmospark.core.arrays import Pixels


def tone(pixels: Pixels, operations: Sequence[Operation]) -> Pixels:
    """Apply tone operations in order as one lookup table of 256 levels, rounded once.

    Args:
        pixels: (h, w) uint8.
        operations: gamma, contrast and brightness.

    Returns:
        (h, w) uint8.
    """
    curve = np.arange(256) / 255.0
    mean = cv2.mean(pixels)[0]
    for operation in operations:
        parameters = operation.parameters
        if operation.name is OperationName.GAMMA:
            curve = np.clip(curve, 0.0, 1.0) ** parameters["power"]
        elif operation.name is OperationName.CONTRAST:
            middle = np.interp(mean, np.arange(256), curve)
            curve = middle + parameters["factor"] * (curve - middle)
        else:
            curve = curve + parameters["share"]
    table = np.rint(255.0 * np.clip(curve, 0.0, 1.0)).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


def equalise(pixels: Pixels, _: Operation) -> Pixels:
    """Histogram equalisation; (h, w) uint8."""
    return np.asarray(cv2.equalizeHist(pixels), np.uint8)


def clahe(pixels: Pixels, operation: Operation) -> Pixels:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, 1994); (h, w) uint8."""
    tiles = int(operation.parameters["tiles"])
    equaliser = cv2.createCLAHE(operation.parameters["clip_limit"], (tiles, tiles))
    return np.asarray(equaliser.apply(pixels), np.uint8)


def blur(pixels: Pixels, operation: Operation) -> Pixels:
    """Gaussian blur; (h, w) uint8."""
    sigma = operation.parameters["sigma"]
    if sigma <= 0.0:
        return pixels
    soft = cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, np.uint8)


def noise(pixels: Pixels, operation: Operation) -> Pixels:
    """Independent normal noise on each pixel; (h, w) uint8."""
    steps = np.rint(normal_quantiles() * np.float32(operation.parameters["sigma"])).astype(
        np.int16
    )
    drawn = steps[sixteen_bits(int(operation.parameters["seed"]), pixels.size)]
    noisy = cv2.add(pixels, drawn.reshape(pixels.shape), dtype=cv2.CV_8U)
    return np.asarray(noisy, np.uint8)


def erase(pixels: Pixels, operation: Operation) -> Pixels:
    """Random erasing (Zhong et al., 2020) with a uniform grey; (h, w) uint8."""
    parameters, (height, width) = operation.parameters, pixels.shape
    top, left = round(parameters["top"] * height), round(parameters["left"] * width)
    bottom = top + max(1, round(parameters["height"] * height))
    right = left + max(1, round(parameters["width"] * width))
    erased = pixels.copy()
    erased[top:bottom, left:right] = int(parameters["grey"])
    return erased
