"""A rejected file, as it travels through the package; imports no decoder."""

from __future__ import annotations

from dataclasses import dataclass

from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason


@dataclass(frozen=True)
class Rejected:
    """The reason why a file was rejected."""

    reason: RejectReason
    detail: str
    """one line, at most ``limits.DETAIL_CHARS_MAX`` characters"""
    image_id: str | None = None
    """SHA-256 of the file's bytes, where they were read and identified"""


def rejected(reason: RejectReason, detail: str, image_id: str | None = None) -> Rejected:
    """A rejection whose detail is one line of bounded length."""
    line = " ".join(detail.split())
    clean = line.encode("utf-8", "replace").decode()
    return Rejected(reason, clean[: limits.DETAIL_CHARS_MAX], image_id)
