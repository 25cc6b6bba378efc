"""A drawn image, smooth and without symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray


@pytest.fixture(scope="session")
def drawn() -> NDArray[np.uint8]:
    """(120, 160) uint8, values 28 to 228."""
    rows, columns = np.mgrid[:120, :160]
    waves = 100 * np.sin(columns / 17 + rows / 40) * np.cos(rows / 23)
    return np.asarray(128 + waves, np.uint8)
