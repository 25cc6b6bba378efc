"""Guess from pixels whether an image is frontal, lateral or a CT slice, if metadata is silent."""

from __future__ import annotations

from typing import Final

import numpy as np

from pulmospark.core.arrays import Pixels, Singles
from pulmospark.core.schemas import View
from pulmospark.imaging.standardise import THUMBNAIL_SIDE, thumbnail_of

_SIDE: Final = THUMBNAIL_SIDE
_CONTRAST_MIN: Final = 16  # grey levels between the 2nd and 98th percentile

# A CT slice: air all round, and little between the grey of air and the grey of tissue.
_AIR_ABOVE_MAX: Final = 0.25
_AIR_BELOW_MAX: Final = 0.65  # the table lies there
_AIR_CORNER_MAX: Final = 0.35
_MIDDLE_GREYS_MAX: Final = 0.22  # share of pixels between 0.3 and 0.7

# A lateral image: no bright spine between two dark lungs, and no mirror symmetry.
_RIDGE_MAX: Final = 0.08
_RIDGE_MIN: Final = -0.05  # below it there is a slope across the picture, as in no chest X-ray
_MIRROR_MAX: Final = 0.65
_ABDOMEN_MIN: Final = 0.5
_SMOOTH_MIN: Final = 0.8  # correlation of neighbours; below it there is no anatomy, but noise
_AXES: Final = np.arange(11, 22)  # columns before which the midline is looked for
_LUNG_ROWS: Final = slice(8, 20)
_LUNG_MEAN: Final = np.full(12, 1 / 12, np.float32)
_CHEST_ROWS: Final = slice(4, 24)


def _regions() -> Singles:
    """Weights (6, pixels) that average the middle of the top rows, that of the bottom rows, and
    the four corners: one product takes a fifth of the time of six small means."""
    middle, ends = slice(_SIDE // 4, -_SIDE // 4), (slice(None, 4), slice(-4, None))
    places = [(slice(None, 2), middle), (slice(-2, None), middle)]
    places += [(rows, columns) for rows in ends for columns in ends]
    weights = np.zeros((len(places), _SIDE, _SIDE), np.float32)
    for number, place in enumerate(places):
        weights[number][place] = 1.0 / weights[number][place].size
    return weights.reshape(len(places), -1)


_REGIONS: Final = _regions()
_GREYS: Final = np.arange(256, dtype=np.float32)


def measure_view(pixels: Pixels) -> View | None:
    """Detect the view of a standard image from its pixels, cautiously.

    Six figures of a 32 x 32 thumbnail, scaled to its 2nd and 98th percentile, are held
    against fixed bounds. An axial slice has air above, below and in all corners, and few
    middle greys. A lateral image has, about no midline between 1/3 and 2/3 of the width, a
    bright ridge (spine and mediastinum) between two darker fields (lungs), nor mirror symmetry.

    How good it is: the bounds were set by hand on the very images they are counted on here, at
    224 x 224, so expect less on others. Frontals taken for something else: 4 of 4,229 (3 as
    lateral, 1 as axial; COVID-19 Radiography, Kermany, NIH and ieee8023 sets, which overlap),
    and at most 10 after mirroring, turning by 5 degrees, a gamma of 0.6 or 1.6, or cutting 5 %
    off each side. Axial slices found: 144 of 144, of only 6 patients and one window; 114 with
    the edges cut off. Lateral images found: 7 of 12, two of them twins; 5 to 7 after the same
    changes. So about half of all lateral images pass as frontals: bounds that find 9 of the 12
    exclude 0.7 % of frontals, those of one white lung or of a turned patient. CT slices cropped
    to the body, in a soft-tissue window, and lateral images of children were not at hand.

    Args:
        pixels: (size, size) uint8, the standard image.

    Returns:
        ``View.AXIAL`` or ``View.LATERAL``; ``None``: no opinion, most often a frontal.
    """
    return view_of_thumbnail(thumbnail_of(pixels))


def view_of_thumbnail(thumbnail: Pixels) -> View | None:
    """As :func:`measure_view`, from the 32 x 32 thumbnail of the standard image."""
    counts = np.bincount(thumbnail.ravel(), minlength=256)
    reached = counts.cumsum()
    few = thumbnail.size // 50
    low = int(reached.searchsorted(few, side="right"))
    high = int(reached.searchsorted(thumbnail.size - few - 1, side="right"))
    if high - low < _CONTRAST_MIN:
        return None
    # 256 greys are scaled, not 1,024 pixels.
    greys = np.clip((_GREYS - np.float32(low)) / np.float32(high - low), 0.0, 1.0)
    scaled = greys.take(thumbnail)
    above, below, *corners = (_REGIONS @ scaled.ravel()).tolist()
    if above < _AIR_ABOVE_MAX and below < _AIR_BELOW_MAX and max(corners) < _AIR_CORNER_MAX:
        middle_greys = counts[(greys > 0.3) & (greys < 0.7)].sum()
        if middle_greys < _MIDDLE_GREYS_MAX * thumbnail.size:
            return View.AXIAL
    return View.LATERAL if _is_lateral(scaled, below) else None


def _is_lateral(scaled: Singles, below: float) -> bool:
    ridge = _ridge(_LUNG_MEAN @ scaled[_LUNG_ROWS])
    if not _RIDGE_MIN < ridge < _RIDGE_MAX:
        return False
    if below < _ABDOMEN_MIN:
        return False
    return _mirror(scaled[_CHEST_ROWS]) < _MIRROR_MAX and _smoothness(scaled) > _SMOOTH_MIN


def _bands() -> Singles:
    """Weights (3, axes, columns) that average the midline and the fields left and right of it."""
    weights = np.zeros((3, len(_AXES), _SIDE), np.float32)
    for number, axis in enumerate(int(axis) for axis in _AXES):
        for band, (first, last) in enumerate(((-2, 2), (-10, -4), (4, 10))):
            columns = slice(max(axis + first, 0), min(axis + last, _SIDE))
            weights[band, number, columns] = 1.0 / (columns.stop - columns.start)
    return weights


_BANDS: Final = _bands()


def _ridge(profile: Singles) -> float:
    """How much brighter the midline is than the brighter of its two sides, at its best axis."""
    means: Singles = _BANDS @ profile
    centre, left, right = means[0], means[1], means[2]
    return float(np.max(centre - np.maximum(left, right)))


def _mirror(rows: Singles) -> float:
    """Correlation of the picture with its mirror image, at its best axis.

    The sum over ``x[i] x[2k-1-i]``, for all axes ``k`` at once, is the rows' convolution with
    themselves; the windows are those that both halves of the picture share.
    """
    spectrum = np.fft.rfft(rows, 2 * _SIDE, axis=1)
    products = np.fft.irfft((spectrum * spectrum).sum(axis=0), 2 * _SIDE)[2 * _AXES - 1]
    half = np.minimum(_AXES, _SIDE - _AXES)
    first, last, count = _AXES - half, _AXES + half, 2 * half * len(rows)
    sums = np.concatenate(([0.0], np.cumsum(rows.sum(axis=0))))
    squares = np.concatenate(([0.0], np.cumsum((rows * rows).sum(axis=0))))
    mean_part = (sums[last] - sums[first]) ** 2 / count
    variance = np.maximum(squares[last] - squares[first] - mean_part, 1e-6)
    return float(np.max((products - mean_part) / variance))


def _smoothness(scaled: Singles) -> float:
    """Correlation of each pixel with its right-hand neighbour."""
    centred = scaled - scaled.mean()
    return float((centred[:, 1:] * centred[:, :-1]).sum() / (centred * centred).sum())
