"""A number with its noun, in the singular or plural."""

from __future__ import annotations


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """ "1 image", "1,204 images"; ``plural``: if it is not the singular with an "s"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
