"""Every transform, in the order of application."""

from __future__ import annotations

from typing import Any

from pulmospark.augment.transforms.base import Transform
from pulmospark.augment.transforms.blur import Blur
from pulmospark.augment.transforms.brightness import Brightness
from pulmospark.augment.transforms.clahe import Clahe
from pulmospark.augment.transforms.contrast import Contrast
from pulmospark.augment.transforms.elastic import Elastic
from pulmospark.augment.transforms.equalise import Equalise
from pulmospark.augment.transforms.erase import Erase
from pulmospark.augment.transforms.flip import Flip
from pulmospark.augment.transforms.gamma import Gamma
from pulmospark.augment.transforms.noise import Noise
from pulmospark.augment.transforms.rotation import Rotation
from pulmospark.augment.transforms.shear import Shear
from pulmospark.augment.transforms.shift import Shift
from pulmospark.augment.transforms.zoom import Zoom

TRANSFORMS: tuple[Transform[Any], ...] = (
    Flip(),
    Zoom(),
    Shear(),
    Rotation(),
    Shift(),
    Elastic(),
    Equalise(),
    Clahe(),
    Gamma(),
    Contrast(),
    Brightness(),
    Blur(),
    Noise(),
    Erase(),
)
"""Geometric ones first, which form one warp, then equalisation, then tone curves, which form one
lookup table, then blur, noise and erasing."""


def transform(name: str) -> Transform[Any]:
    """The transform of a name.

    Raises:
        ValueError: there is none.
    """
    for each in TRANSFORMS:
        if each.name == name:
            return each
    raise ValueError(f"{name!r} is no transform")
