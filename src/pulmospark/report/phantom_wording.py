"""Phantoms are called phantoms, and their patients synthetic, in sentences written for images."""

from __future__ import annotations

import re

_CHANGES = (
    (re.compile(r"\b([Aa])n (?=image\b(?!-| tables?\b))"), r"\1 "),
    (re.compile(r"\b(?:drawn )?image(s?)\b(?!-| tables?\b)"), r"phantom\1"),
    (re.compile(r"\bImage(s?)\b"), r"Phantom\1"),
    (
        re.compile(r"(?<!synthetic )(?<!drawn )(?<!made-up )(?<!not )\bpatient(s?)\b"),
        r"synthetic patient\1",
    ),
    (re.compile(r"\bPatient(s?)\b"), r"Synthetic patient\1"),
)


def phantom_words(text: str) -> str:
    """A plain sentence about images and patients as one about phantoms and synthetic patients."""
    for pattern, new in _CHANGES:
        text = pattern.sub(new, text)
    return text
