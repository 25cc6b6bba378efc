"""What an audit says: plain, frozen values that go to JSON and to the report."""

from __future__ import annotations

from typing import Any, Literal

from pulmospark.evaluation.results import Figure, Result

Verdict = Literal["pass", "warn", "fail", "open"]
"""``open``: it could not be told; the sentence says what is missing"""

ORDER: dict[Verdict, int] = {"fail": 0, "warn": 1, "open": 2, "pass": 3}
"""Worst first; what could not be told stands before what is good."""


class NamedFigure(Result):
    """A figure of an audit, with its name."""

    name: str
    figure: Figure
    scale: Literal["percent", "number"] = "percent"


class ShownFilm(Result):
    """A film that shows what an audit found; its pixels are in the images table."""

    uri: str
    image_id: str
    source: str
    label: str | None = None
    part: str | None = None
    """"train", "test", "fold 1" and so on; ``None`` outside an experiment"""


class Example(Result):
    """Films that belong side by side."""

    caption: str
    films: tuple[ShownFilm, ...]


class AuditResult(Result):
    """One audit."""

    name: str
    title: str
    verdict: Verdict
    sentence: str
    """what was found, in one sentence"""
    figures: tuple[NamedFigure, ...] = ()
    threshold: str = ""
    """from where on it warns or fails"""
    why: str = ""
    """why that threshold"""
    remedy: str = ""
    """what to do about it, or what would let it be told; empty where it passed"""
    examples: tuple[Example, ...] = ()
    seconds: float = 0.0


def left_open(name: str, title: str, why: str, remedy: str = "") -> AuditResult:
    """An audit that could not be told, and what is missing."""
    return AuditResult(
        name=name, title=title, verdict="open", sentence=f"Not told: {why}.", remedy=remedy
    )


class FilmDistances(Result):
    """A table of how unlike all others each film is."""

    table: str
    """its folder, within that of the audit"""
    films: int
    """that it has a row of"""
    unlike: int
    """films beyond the fence"""
    fence: float
    """distance beyond which a film is called unlike all others, 0 to 2"""
    reference: int
    """films that it is measured by"""


class AuditReport(Result):
    """All audits of one subject."""

    films: int
    audits: tuple[AuditResult, ...]
    """worst first"""
    skipped: tuple[str, ...] = ()
    """names of audits that were left out by the settings"""
    costly_left_out: tuple[str, ...] = ()
    """names of audits that only ``--all`` runs"""
    distances: FilmDistances | None = None
    """of the table that ``--with-table`` asks for; ``None``: it was not asked for"""
    cohort_id: str | None = None
    """of the cohort that was audited; ``None``: a bare table, or an older version's audit"""
    provenance: dict[str, Any]

    def count(self, verdict: Verdict) -> int:
        """Audits with a verdict."""
        return sum(audit.verdict == verdict for audit in self.audits)

    @property
    def failed(self) -> tuple[AuditResult, ...]:
        """Those that failed."""
        return tuple(audit for audit in self.audits if audit.verdict == "fail")
