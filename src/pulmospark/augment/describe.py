"""Describe augmentation: operations, their probability and strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pulmospark.augment.operations import OperationName
from pulmospark.config.augment import AugmentSettings


@dataclass(frozen=True)
class ToldOperation:
    """Description of an active operation.

    Attributes:
        name: the operation.
        probability: of applying it, 0 to 1.
        reach: its strength as text.
    """

    name: OperationName
    probability: float
    reach: str


def told_operations(settings: AugmentSettings) -> tuple[ToldOperation, ...]:
    """The active operations, in the order of application."""
    descriptions = []
    for name in OperationName:
        own: Any = getattr(settings, name.value)
        if own.probability:
            descriptions.append(ToldOperation(name, own.probability, _REACH[name](own)))
    return tuple(descriptions)


def _times(share: float) -> str:
    return f"1/{1 + share:g} to {1 + share:g} times"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


_REACH: Mapping[OperationName, Callable[[Any], str]] = {
    OperationName.FLIP: lambda _: "left and right swapped, with the heart on the other side",
    OperationName.ZOOM: lambda own: _times(own.share),
    OperationName.SHEAR: lambda own: f"up to {own.degrees:g} degrees in either direction",
    OperationName.ROTATION: lambda own: f"up to {own.degrees:g} degrees in either direction",
    OperationName.SHIFT: lambda own: f"up to {_percent(own.share)} of the side in each direction",
    OperationName.ELASTIC: lambda own: (
        f"nodes moved by {_percent(own.share)} of the side (standard deviation)"
    ),
    OperationName.EQUALISE: lambda _: "the histogram of the whole image",
    OperationName.CLAHE: lambda own: (
        f"clip limit 1 to {own.clip_limit:g}, {own.tiles} x {own.tiles} tiles"
    ),
    OperationName.GAMMA: lambda own: f"powers of 1/{1 + own.share:g} to {1 + own.share:g}",
    OperationName.CONTRAST: lambda own: f"{_times(own.share)}, about the mean",
    OperationName.BRIGHTNESS: lambda own: (
        f"up to {_percent(own.share)} of the grey levels, up or down"
    ),
    OperationName.BLUR: lambda own: f"up to {own.sigma:g} pixels (standard deviation)",
    OperationName.NOISE: lambda own: f"up to {own.sigma:g} grey levels (standard deviation)",
    OperationName.ERASE: lambda own: f"a rectangle of 2 % to {_percent(own.area)} of the image",
}
