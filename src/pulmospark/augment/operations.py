"""Augmentation operations as plain values, and their JSON form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pulmospark.core.errors import InputError


class OperationName(StrEnum):
    """The operations, in the order of application; the list is closed.

    The first six are geometric and form one warp, the next two equalise, the next three are tone
    curves and form one lookup table; blur, noise and erasing come last.
    """

    FLIP = "flip"
    ZOOM = "zoom"
    SHEAR = "shear"
    ROTATION = "rotation"
    SHIFT = "shift"
    ELASTIC = "elastic"
    EQUALISE = "equalise"
    CLAHE = "clahe"
    GAMMA = "gamma"
    CONTRAST = "contrast"
    BRIGHTNESS = "brightness"
    BLUR = "blur"
    NOISE = "noise"
    ERASE = "erase"


PARAMETERS: Mapping[OperationName, tuple[str, ...]] = {
    OperationName.FLIP: (),
    OperationName.ZOOM: ("factor",),
    OperationName.SHEAR: ("degrees",),
    OperationName.ROTATION: ("degrees",),
    OperationName.SHIFT: ("right", "down"),
    OperationName.ELASTIC: ("share", "seed"),
    OperationName.EQUALISE: (),
    OperationName.CLAHE: ("clip_limit", "tiles"),
    OperationName.GAMMA: ("power",),
    OperationName.CONTRAST: ("factor",),
    OperationName.BRIGHTNESS: ("share",),
    OperationName.BLUR: ("sigma",),
    OperationName.NOISE: ("sigma", "seed"),
    OperationName.ERASE: ("top", "left", "height", "width", "grey"),
}
"""Operation -> names of its parameters, all numbers; shares refer to the image's side."""


@dataclass(frozen=True)
class Operation:
    """One operation with its sampled parameters.

    Attributes:
        name: which operation.
        parameters: by the names in :data:`PARAMETERS`.
    """

    name: OperationName
    parameters: Mapping[str, float]


def to_json(operations: Sequence[Operation]) -> str:
    """Operations as one line of JSON: ``[["rotation", {"degrees": 3.5}], ...]``."""
    pairs = [(operation.name.value, dict(operation.parameters)) for operation in operations]
    return json.dumps(pairs, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> tuple[Operation, ...]:
    """Parse the output of :func:`to_json`.

    Raises:
        InputError: invalid JSON, or an unknown operation or parameter.
    """
    try:
        pairs = json.loads(text)
        if not isinstance(pairs, list):
            raise ValueError("not a list")
        return tuple(_operation(name, given) for name, given in pairs)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"operations {text[:80]!r}: not a list of operations: {error}") from error


def _operation(name: str, given: Mapping[str, float]) -> Operation:
    known = OperationName(name)
    if set(given) != set(PARAMETERS[known]):
        raise ValueError(f"{name} takes {', '.join(PARAMETERS[known]) or 'no parameters'}")
    if any(
        isinstance(value, bool) or not isinstance(value, (int, float)) for value in given.values()
    ):
        raise ValueError(f"{name}: a parameter is not a number")
    return Operation(known, dict(given))
