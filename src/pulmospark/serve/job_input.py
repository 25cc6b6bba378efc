"""The input of a batch job: a place below a folder that the service was given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pulmospark.serve.errors import ServiceError


def input_below(roots: Sequence[Path], wanted: str) -> Path:
    """The place that a job names, if it is there and below an allowed folder.

    Links are followed before it is looked at where the place lies, so that none leads out.

    Args:
        roots: the allowed folders, resolved.
        wanted: relative to one of them, or absolute.

    Raises:
        ServiceError: 403, none is allowed, or it lies elsewhere or is missing; the answer does
            not say which, for it would reveal what is on the disk.
    """
    if not roots:
        raise ServiceError(
            403, "no folder is configured for batch jobs: start with --inputs FOLDER"
        )
    for root in roots:
        try:
            place = (root / wanted).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            continue
        if place.is_relative_to(root):
            return place
    raise ServiceError(403, "input: not there, or not below a folder that was given with --inputs")
