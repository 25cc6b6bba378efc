"""Caches outcomes of precision checks between calls, one small file each."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from pulmospark.core import files, machine
from pulmospark.core.errors import PulmosparkError


class Compared(NamedTuple):
    """Result of a comparison."""

    images: int
    moved: float
    """largest change of a probability; infinity where one is not finite"""
    changed: int
    """images for which a decision changed"""


class Speeds(NamedTuple):
    """Processor time of a network in two precisions, milliseconds an image."""

    exact: float
    lower: float


Result = TypeVar("Result", Compared, Speeds)


def recall(kind: type[Result], key: str) -> Result | None:
    """A cached result; ``None``: not cached.

    Args:
        kind: of the result.
        key: SHA-256 of everything it depends on.
    """
    with suppress(PulmosparkError, OSError, TypeError):
        record = files.read_json(_file(key))
        if isinstance(record, dict) and record.pop("key", None) == key:
            result = kind(**record)
            if all(isinstance(value, int | float) and 0 <= value < math.inf for value in result):
                return result
    return None


def remember(key: str, result: Compared | Speeds) -> None:
    """Cache a result; without a writable cache the comparison runs each time."""
    if not all(map(math.isfinite, result)):
        return  # JSON has no infinity, and a broken engine should be checked again
    with suppress(PulmosparkError, OSError):
        files.write_json(_file(key), {"key": key, **result._asdict()})


def _file(key: str) -> Path:
    return machine.cache_folder() / "precision" / f"{key}.json"
