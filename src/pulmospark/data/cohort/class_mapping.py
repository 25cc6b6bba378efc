"""Class mapping: from the sources' findings to the experiment's classes."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from pulmospark.core import limits
from pulmospark.core.errors import ClassError
from pulmospark.core.safe_text import is_name, one_line


def map_findings(
    findings: Iterable[tuple[str, str]], classes: Mapping[str, Sequence[str]]
) -> dict[tuple[str, str], str | None]:
    """Class of each finding, ``None`` if no class claims it.

    Patterns ignore case; ``*`` and ``?`` stand for any text and any character;
    ``source:finding`` holds for one source only. A finding that contains ``*?[`` itself also
    matches its exact text.

    Args:
        findings: pairs of source and finding, as in the sources.
        classes: class -> patterns; empty: every finding is a class.

    Raises:
        ClassError: two classes claim one finding, or a finding cannot be a class's name.
    """
    mapped: dict[tuple[str, str], str | None] = {}
    for source, finding in findings:
        if not classes:
            mapped[source, finding] = _class_named(source, finding)
            continue
        claims = [
            name
            for name, patterns in classes.items()
            if any(_matches(source, finding, pattern) for pattern in patterns)
        ]
        if len(claims) > 1:
            raise ClassError(
                f"finding {finding!r} of source {source!r} matches the classes "
                f"{' and '.join(map(repr, claims))}: narrow one of their patterns"
            )
        mapped[source, finding] = claims[0] if claims else None
    return mapped


def _class_named(source: str, finding: str) -> str:
    """A finding as the name of a class, which appears in bundles, reports and on terminals."""
    if not is_name(finding):
        raise ClassError(
            f"finding {one_line(finding, 80)!r} of source {source!r} cannot be the name of a "
            f"class: it is blank, over {limits.NAME_CHARS_MAX} characters, or has control "
            "characters: name the classes under [classes]"
        )
    return finding


def _matches(source: str, finding: str, pattern: str) -> bool:
    prefix, colon, rest = pattern.partition(":")
    if colon and prefix.casefold() == source.casefold() and _text_matches(finding, rest):
        return True
    return _text_matches(finding, pattern)


def _text_matches(finding: str, pattern: str) -> bool:
    finding, pattern = finding.casefold().strip(), pattern.casefold().strip()
    return finding == pattern or fnmatch.fnmatchcase(finding, pattern.replace("[", "[[]"))
