"""Numbers as people read them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A time a reader can take in: ``0.42 s``, ``38 s``, ``4 min 05 s``, ``2 h 07 min``."""
    if seconds < 0.01:
        return "under 0.01 s"
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
