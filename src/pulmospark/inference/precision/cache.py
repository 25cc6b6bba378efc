"""Outcomes of precision checks, remembered between calls: a small file each in the cache."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pulmospark.core import files, machine
from pulmospark.core.errors import PulmosparkError


class Compared(NamedTuple):
    """What a comparison found."""

    images: int
    moved: float
    """by how much a probability moved at most; infinity where one is no number"""
    changed: int
    """images for which a decision is another"""


def recall(key: str) -> Compared | None:
    """What a comparison found; ``None``: not known.

    Args:
        key: SHA-256 of all that it depends on.
    """
    with suppress(PulmosparkError, OSError, TypeError):
        told = files.read_json(_file(key))
        if isinstance(told, dict) and told.pop("key", None) == key:
            found = Compared(**told)
            if all(isinstance(one, int | float) and 0 <= one < math.inf for one in found):
                return found
    return None


def remember(key: str, found: Compared) -> None:
    """Keep an outcome; where the cache cannot be written to, it is found anew each time."""
    if not math.isfinite(found.moved):
        return  # JSON has no such number, and what is broken is better looked at again
    with suppress(PulmosparkError, OSError):
        files.write_json(_file(key), {"key": key, **found._asdict()})


def _file(key: str) -> Path:
    return machine.cache_folder() / "precision" / f"{key}.json"
