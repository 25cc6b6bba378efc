"""Results of audits: plain, frozen values for JSON and the report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator

from pulmospark.config.audit import EARLIER_AUDITS
from pulmospark.core.html import html_table
from pulmospark.evaluation.results import Figure, Result

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["pass", "warn", "fail", "not assessable"]
"""``not assessable``: the data do not allow the audit; the sentence says what is missing"""

ORDER: dict[Verdict, int] = {"fail": 0, "warn": 1, "not assessable": 2, "pass": 3}
"""Worst first; not assessable comes before pass."""


_OLDER = {"open": "not assessable"}
"""verdicts as older versions wrote them"""


class NamedFigure(Result):
    """A metric of an audit, with its name."""

    name: str
    figure: Figure
    scale: Literal["percent", "number"] = "percent"


class ShownImage(Result):
    """An image shown as an example; its pixels are in the images table."""

    uri: str
    image_id: str
    source: str
    label: str | None = None
    part: str | None = None
    """"train", "test", "fold 1" and so on; ``None`` outside an experiment"""


class Example(Result):
    """Images to be shown side by side."""

    caption: str
    images: tuple[ShownImage, ...]


class Distribution(Result):
    """How many images of each class have each value of a feature."""

    classes: tuple[str, ...]
    values: tuple[str, ...] = ()
    """the most frequent names and the rest together; empty where the feature is a number"""
    edges: tuple[float, ...] = ()
    """of the bins of a number, one more than there are; what lies beyond is in the end bins"""
    counts: tuple[tuple[int, ...], ...]
    """one row per class, one column per value or bin"""
    unknown: tuple[int, ...]
    """images without a value, of each class"""


class Shortcut(Result):
    """What an audit of the shortcuts looked at: whether one feature alone predicts the label."""

    feature: str
    warn: float
    """AUROC that the lower bound of the CI must exceed for a warning, 0 to 1"""
    fail: float
    """as ``warn``, for a failure"""
    distribution: Distribution


class AuditResult(Result):
    """One audit."""

    name: Annotated[str, BeforeValidator(lambda name: EARLIER_AUDITS.get(name, name))]
    title: str
    verdict: Annotated[Verdict, BeforeValidator(lambda verdict: _OLDER.get(verdict, verdict))]
    sentence: str
    """the finding in one sentence"""
    figures: tuple[NamedFigure, ...] = ()
    threshold: str = ""
    """when it warns and when it fails"""
    why: str = ""
    """why that threshold"""
    remedy: str = ""
    """what to do about it, or what would make it assessable; empty if passed"""
    examples: tuple[Example, ...] = ()
    shortcut: Shortcut | None = None
    """of a shortcut check that could be made; its one figure is the AUROC"""
    seconds: float = 0.0


def not_assessable(name: str, title: str, why: str, remedy: str = "") -> AuditResult:
    """The result of an audit that the data do not allow, with what is missing.

    Never a pass: absence of evidence is not evidence of absence.
    """
    return AuditResult(
        name=name,
        title=title,
        verdict="not assessable",
        sentence=f"Not assessable: {why}.",
        remedy=remedy,
    )


class AuditReport(Result):
    """All audits of one subject, worst first.

    In a notebook it shows itself as a table.

    Example:
        >>> audits = ps.open_run("runs/mine").audits
        >>> [audit.name for audit in audits.failed] == [
        ...     audit.name for audit in audits.audits if audit.verdict == "fail"
        ... ]
        True
    """

    dropped: ClassVar[frozenset[str]] = frozenset({"distances"})

    images: int
    """images that were audited"""
    audits: tuple[AuditResult, ...]
    """worst first"""
    skipped: tuple[str, ...] = ()
    """names of audits that the settings skip"""
    costly_left_out: tuple[str, ...] = ()
    """names of audits that only ``--all`` runs"""
    near_copies: int | None = None
    """pairs in the tables ``near_copies.parquet`` and ``.csv`` with the audit; ``None``: none"""
    cohort_id: str | None = None
    """id of the audited cohort; ``None``: a bare table, or an audit by an older version"""
    provenance: dict[str, Any]
    """versions, settings and seed"""

    def __repr__(self) -> str:
        counts = Counter(audit.verdict for audit in self.audits)
        verdicts = ", ".join(f"{counts[name]} {name}" for name in ORDER if counts[name])
        return f"<AuditReport of {self.images:,} images: {verdicts or 'no audits'}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_table(
            repr(self).strip("<>"),
            [(audit.verdict, audit.title, audit.sentence, audit.remedy) for audit in self.audits],
            head=("verdict", "audit", "result", "remedy"),
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row an audit, worst first.

        Returns:
            Index ``name``; columns ``verdict``, ``title``, ``sentence``, ``threshold``, ``why``,
            ``remedy`` (text) and ``seconds`` (float64).
        """
        import pandas as pd  # noqa: PLC0415 - half a second, which reading an audit is spared

        columns = ("name", "verdict", "title", "sentence", "threshold", "why", "remedy", "seconds")
        rows = [[getattr(audit, column) for column in columns] for audit in self.audits]
        return pd.DataFrame(rows, columns=list(columns)).set_index("name")

    def count(self, verdict: Verdict) -> int:
        """Number of audits with a verdict.

        Args:
            verdict: ``pass``, ``warn``, ``fail``, ``not assessable``.
        """
        return sum(audit.verdict == verdict for audit in self.audits)

    @property
    def failed(self) -> tuple[AuditResult, ...]:
        """Those that failed."""
        return tuple(audit for audit in self.audits if audit.verdict == "fail")
