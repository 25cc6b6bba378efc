"""Phantoms are called phantoms: the whole page's words, changed in one place.

The sentences of the report are written for films, in many places; a page about phantoms is
said anew at its end, so that no sentence can be forgotten.
"""

from __future__ import annotations

import re

_TAG = re.compile(r"(<[^>]*>)")
_SPOKEN = re.compile(r'\b((?:aria-label|alt)=")([^"]*)(")')
_AS_GIVEN = ("bdi", "pre", "style", "svg")
"""elements that hold names, settings or drawings, and no sentence of the report's"""
_CHANGES = (
    (re.compile(r"\b(?:drawn )?film(s?)\b"), r"phantom\1"),
    (re.compile(r"\bFilm(s?)\b"), r"Phantom\1"),
    (re.compile(r"(?<!drawn )(?<!made-up )(?<!not )\bpatient(s?)\b"), r"drawn patient\1"),
    (re.compile(r"\bPatient(s?)\b"), r"Drawn patient\1"),
)


def say_phantoms(page: str) -> str:
    """A rendered page whose sentences speak of phantoms and drawn patients.

    Names from outside (class names, paths, settings) stay as they are.

    Args:
        page: HTML, with every name from outside in a ``bdi`` or ``pre`` element.
    """
    said, given = [], 0
    for piece in _TAG.split(page):
        if not _TAG.fullmatch(piece):
            said.append(piece if given else phantom_words(piece))
            continue
        name = re.match(r"</?(\w+)", piece)
        if name is not None and name[1] in _AS_GIVEN:
            given += -1 if piece.startswith("</") else 1
        said.append(
            _SPOKEN.sub(lambda found: found[1] + phantom_words(found[2]) + found[3], piece)
        )
    return "".join(said)


def phantom_words(text: str) -> str:
    """A sentence about films and patients as one about phantoms and drawn patients."""
    for pattern, new in _CHANGES:
        text = pattern.sub(new, text)
    return text
