"""Names of array types; shapes stand where they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Reals = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Integers = NDArray[np.integer[Any]]
Hashes = NDArray[np.uint64]
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
