"""Drawn transforms as plain values, and their JSON form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulmospark.augment.transforms.registry import transform
from pulmospark.core.errors import InputError


@dataclass(frozen=True)
class Operation:
    """One transform with its drawn parameters.

    Attributes:
        name: of the transform.
        parameters: by the names in its ``parameters``.
    """

    name: str
    parameters: Mapping[str, float]


def to_json(operations: Sequence[Operation]) -> str:
    """Operations as one line of JSON: ``[["rotation", {"degrees": 3.5}], ...]``."""
    pairs = [(operation.name, dict(operation.parameters)) for operation in operations]
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
    known = transform(name).parameters
    if set(given) != set(known):
        raise ValueError(f"{name} takes {', '.join(known) or 'no parameters'}")
    if any(
        isinstance(value, bool) or not isinstance(value, (int, float)) for value in given.values()
    ):
        raise ValueError(f"{name}: a parameter is not a number")
    return Operation(name, dict(given))
