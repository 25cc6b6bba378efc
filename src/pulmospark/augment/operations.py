"""Operations on films: what was drawn, as plain values, and how it is written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pulmospark.core.errors import InputError


class OperationName(StrEnum):
    """The operations, in the order in which they are done; the list is closed.

    The first six are geometric and become one warp, the next two equalise, the next three are
    tone curves and become one table; blur, noise and erasing come last.
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
"""Operation -> names of its parameters, all numbers; shares are of the film's side."""


@dataclass(frozen=True)
class Operation:
    """One operation with the parameters that were drawn for it.

    Attributes:
        name: which operation.
        parameters: its numbers, by the names in :data:`PARAMETERS`.
    """

    name: OperationName
    parameters: Mapping[str, float]


def to_json(operations: Sequence[Operation]) -> str:
    """Operations as one line of JSON: ``[["rotation", {"degrees": 3.5}], ...]``."""
    told = [(one.name.value, dict(one.parameters)) for one in operations]
    return json.dumps(told, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> tuple[Operation, ...]:
    """Operations from what :func:`to_json` wrote.

    Raises:
        InputError: it is no such JSON, or an operation or a parameter is unknown.
    """
    try:
        told = json.loads(text)
        if not isinstance(told, list):
            raise ValueError("no list")
        return tuple(_operation(name, given) for name, given in told)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"operations {text[:80]!r}: not a list of operations: {error}") from error


def _operation(name: str, given: Mapping[str, float]) -> Operation:
    known = OperationName(name)
    if set(given) != set(PARAMETERS[known]):
        raise ValueError(f"{name} takes {', '.join(PARAMETERS[known]) or 'no parameter'}")
    if any(isinstance(one, bool) or not isinstance(one, (int, float)) for one in given.values()):
        raise ValueError(f"{name}: a parameter is no number")
    return Operation(known, dict(given))
