"""Find the lungs of a frontal image by a simple method, where no mask came with it.

Not a segmentation to measure with: it says roughly where the lungs are, so that an image can be
blacked out there or cut to them. Two ellipses say where lungs are likely, and darkness, within
the image's own greys, decides. Against the masks of the COVID-19 Radiography Database
``python -m benchmarks lungs`` measures it.
"""

from __future__ import annotations

import cv2
import numpy as np

from pulmospark.core.arrays import Mask, Pixels, Singles
from pulmospark.imaging.placement import Box

_SIDE = 64
_CENTRES = ((0.31, 0.45), (0.70, 0.45))
"""x and y of the middle of each lung, as shares of the sides"""
_RADII = (0.14, 0.28)
_DARKNESS = 2.2
"""weight of darkness against place"""
_MARGIN = 0.06
_SPECK = 0.01
"""share of the image below which a piece is no lung"""
_LUNGS_LEAST = 0.06
"""share of the image below which both together are no lungs"""


def find_lungs(image: Pixels) -> Mask:
    """Where the lungs of a frontal image are likely to be.

    Args:
        image: (h, w) uint8 grey, lungs dark.

    Returns:
        (h, w) bool; the two ellipses where nothing better is found.
    """
    lungs = segment_lungs(image)
    return _enlarged(_place() > 0, image) if lungs is None else lungs


def segment_lungs(image: Pixels) -> Mask | None:
    """As :func:`find_lungs`, but ``None`` where no lungs are found."""
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    even = cv2.createCLAHE(2.0, (4, 4)).apply(small)
    grey = cv2.GaussianBlur(even.astype(np.float32), (0, 0), 1.5)
    place = _place()
    inside = place > 0.0
    limit, _ = cv2.threshold(
        grey[inside].astype(np.uint8), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
    )
    spread = float(grey[inside].std()) + 1.0
    likely = place + _DARKNESS * (limit - grey) / spread > 0
    likely &= place > -2.5
    kept = _largest(likely.astype(np.uint8))
    return None if kept.mean() < _LUNGS_LEAST else _enlarged(kept, image)


def _enlarged(small: Mask, image: Pixels) -> Mask:
    size = (image.shape[1], image.shape[0])
    whole = cv2.resize(small.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole > 0, np.bool_)


def lung_box(image: Pixels) -> Box:
    """The box of a frontal image's lungs and a margin of 6 % around them.

    Args:
        image: (h, w) uint8 grey, lungs dark.
    """
    lungs = find_lungs(image)
    rows, columns = np.flatnonzero(lungs.any(axis=1)), np.flatnonzero(lungs.any(axis=0))
    height, width = image.shape
    edge = (round(_MARGIN * height), round(_MARGIN * width))
    top, bottom = max(0, rows[0] - edge[0]), min(height, rows[-1] + 1 + edge[0])
    left, right = max(0, columns[0] - edge[1]), min(width, columns[-1] + 1 + edge[1])
    return int(top), int(left), int(bottom), int(right)


def _place() -> Singles:
    """How likely a lung is by place alone: above 0 within the ellipses, -3 far outside."""
    y, x = (np.mgrid[0:_SIDE, 0:_SIDE] + 0.5) / _SIDE
    nearest = np.min(
        [((x - cx) / _RADII[0]) ** 2 + ((y - cy) / _RADII[1]) ** 2 for cx, cy in _CENTRES], axis=0
    )
    return np.asarray(np.maximum(1.5 * (1.0 - nearest), -3.0), np.float32)


def _largest(mask: Pixels) -> Mask:
    """The largest piece of each half, smoothed, its holes filled."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    smooth = cv2.morphologyEx(
        cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel
    )
    lungs = np.zeros(mask.shape, np.uint8)
    for half in (slice(None, _SIDE // 2), slice(_SIDE // 2, None)):
        part = np.zeros_like(smooth)
        part[:, half] = smooth[:, half]
        count, labels, stats, _ = cv2.connectedComponentsWithStats(part)
        if count < 2:
            continue
        best = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        if stats[best, cv2.CC_STAT_AREA] < _SPECK * mask.size:
            continue
        outlines, _ = cv2.findContours(
            (labels == best).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(lungs, outlines, -1, 1, thickness=cv2.FILLED)
    return lungs > 0
