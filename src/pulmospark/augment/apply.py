"""Apply recorded operations: the same record and image give the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import numpy as np

from pulmospark.augment import intensity
from pulmospark.augment.operations import Operation, OperationName
from pulmospark.augment.warp import warp
from pulmospark.core.arrays import Pixels

_GEOMETRIC = frozenset(
    {
        OperationName.FLIP,
        OperationName.ZOOM,
        OperationName.SHEAR,
        OperationName.ROTATION,
        OperationName.SHIFT,
        OperationName.ELASTIC,
    }
)
_TONES = frozenset({OperationName.GAMMA, OperationName.CONTRAST, OperationName.BRIGHTNESS})
_SINGLE: Mapping[OperationName, Callable[[Pixels, Operation], Pixels]] = {
    OperationName.EQUALISE: intensity.equalise,
    OperationName.CLAHE: intensity.clahe,
    OperationName.BLUR: intensity.blur,
    OperationName.NOISE: intensity.noise,
    OperationName.ERASE: intensity.erase,
}


def apply(pixels: Pixels, operations: Sequence[Operation]) -> Pixels:
    """Apply operations in order.

    Consecutive geometric operations are one warp, consecutive tone curves one lookup table, to
    minimise resampling and rounding.

    Args:
        pixels: (h, w) uint8; unchanged.
        operations: the sampled operations.

    Returns:
        (h, w) uint8, a new array.

    Raises:
        ValueError: the pixels are not an 8-bit grey image.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
        raise ValueError(f"pixels are {pixels.dtype} {pixels.shape}: expected uint8 (h, w)")
    changed = pixels
    for family, group in groupby(operations, key=_family):
        if family == "geometric":
            changed = warp(changed, list(group))
        elif family == "tone":
            changed = intensity.tone(changed, list(group))
        else:
            for operation in group:
                changed = _SINGLE[operation.name](changed, operation)
    return changed.copy() if changed is pixels else changed


def _family(operation: Operation) -> str:
    if operation.name in _GEOMETRIC:
        return "geometric"
    return "tone" if operation.name in _TONES else "single"
