"""The metrics as table cells, with footnotes for what is not defined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pulmospark.core import limits
from pulmospark.evaluation import registry
from pulmospark.evaluation.registry import NOT_COMPUTED, Metric, Scale
from pulmospark.evaluation.results import CrossValidation, Evaluation, Figure
from pulmospark.report.content import Exclusion, Level, ReportContent, SplitCell
from pulmospark.report.methods import METHODS, effective_words
from pulmospark.report.numbers import DASH, count, interval, number
from pulmospark.report.phrasing import groups, image_noun, units

_NO_INTERVAL = "No CI can be computed from so few images or patients."


@dataclass(frozen=True)
class Cell:
    """One metric as it stands in a table."""

    value: str
    interval: str = ""
    ratio: str = ""
    """numerator / denominator of a plain proportion"""
    method: str = ""
    effective: str = ""
    """effective sample size of a proportion, where its CI is of that"""
    note: int | None = None
    """number of the footnote, from 1"""

    @property
    def undefined(self) -> bool:
        """Whether the metric has no value."""
        return self.value == DASH


@dataclass(frozen=True)
class Row:
    """One row: its heading, a word on it, and its cells."""

    heading: str
    cells: tuple[Cell, ...]
    about: str = ""
    images: int | None = None


@dataclass(frozen=True)
class MetricTable:
    """A table of metrics with its footnotes."""

    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass
class _Notes:
    """Footnotes in the order they are first needed; the same reason has one number."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def _cell(metric: Metric, result: object, notes: _Notes) -> Cell:
    figure = metric.of(result)
    if figure.value is None or not math.isfinite(figure.value):
        why = NOT_COMPUTED if figure.note == NOT_COMPUTED else metric.undefined
        return Cell(DASH, note=notes.mark(f"{metric.label}: {why}."))
    span = interval(figure, metric.scale)
    ratio = ""
    if figure.numerator is not None and figure.denominator is not None:
        ratio = f"{figure.numerator:,} / {figure.denominator:,}"
    note = _NO_INTERVAL if figure.note is None else _sentence(figure.note)
    return Cell(
        number(figure.value, metric.scale),
        span,
        ratio,
        METHODS[figure.method],
        effective_words(figure),
        None if span and figure.note is None else notes.mark(note),
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def overall_table(evaluations: Sequence[Evaluation]) -> MetricTable:
    """The metrics over all classes, one per row; one column per evaluation."""
    notes = _Notes()
    rows = tuple(
        Row(
            metric.label,
            tuple(_cell(metric, evaluation, notes) for evaluation in evaluations),
            metric.about + "; lower is better" * (metric.better == "lower"),
        )
        for metric in registry.overall()
    )
    return MetricTable((), rows, tuple(notes.texts))


def class_table(evaluation: Evaluation) -> MetricTable:
    """Each class against the rest, one per row."""
    notes, shown = _Notes(), registry.of_class()
    rows = tuple(
        Row(row.name, tuple(_cell(metric, row, notes) for metric in shown), images=row.support)
        for row in evaluation.by_class
    )
    return MetricTable(tuple(metric.label for metric in shown), rows, tuple(notes.texts))


def classes_beside(evaluations: Sequence[Evaluation]) -> MetricTable:
    """The main metrics of each class, one per row; one column per evaluation.

    Args:
        evaluations: of the same classes in the same order.
    """
    notes = _Notes()
    rows = tuple(
        Row(
            figures.name,
            tuple(_cell(metric, each.by_class[place], notes) for each in evaluations),
            metric.label,
        )
        for place, figures in enumerate(evaluations[0].by_class)
        for metric in registry.of_class("external")
    )
    return MetricTable((), rows, tuple(notes.texts))


def operating_table(evaluations: Sequence[Evaluation]) -> MetricTable | None:
    """The metrics at the operating point, one per row; one column per evaluation.

    ``None`` where one of them has no operating point.
    """
    points = [evaluation.operating for evaluation in evaluations]
    if any(point is None for point in points):
        return None
    notes = _Notes()
    rows = tuple(
        Row(metric.label, tuple(_cell(metric, point, notes) for point in points))
        for metric in registry.of_decisions()
    )
    return MetricTable((), rows, tuple(notes.texts))


@dataclass(frozen=True)
class FoldRow:
    """One metric over the folds, ready to show."""

    name: str
    of: str | None
    """class that it is of, where it is of one"""
    mean: str
    spread: str
    values: tuple[str, ...]


def fold_rows(cross: CrossValidation) -> tuple[FoldRow, ...]:
    """One row a metric: mean, standard deviation and each fold's value."""

    def shown(value: float | None) -> str:
        return DASH if value is None else number(value)

    return tuple(
        FoldRow(
            name=registry.label_of(summary.name),
            of=summary.class_name,
            mean=shown(summary.mean),
            spread=shown(summary.spread),
            values=tuple(map(shown, summary.values)),
        )
        for summary in cross.summary
    )


@dataclass(frozen=True)
class LevelRow:
    """The main metrics of one level; each with its CI."""

    unit: str
    count: int
    whose: str
    """patients or groups that they are of, in words"""
    pooling: str
    cells: tuple[tuple[str, str], ...]
    """value and CI: accuracy, balanced accuracy, macro AUROC, baseline of the source"""


def level_rows(content: ReportContent) -> tuple[LevelRow, ...]:
    """One row a level, that of the single images first; none where there is no other."""
    first = Level(unit=image_noun(content), pooling=DASH, evaluation=content.evaluation)
    if not content.levels:
        return ()
    others = (_level_row(level, units(content, level.evaluation)) for level in content.levels)
    return (_level_row(first, groups(content)), *others)


def _level_row(level: Level, whose: str) -> LevelRow:
    of = level.evaluation
    rule = of.trivial.most_frequent_class_of_source if of.trivial else Figure(value=None)
    shown: tuple[tuple[Figure, Scale], ...] = (
        (of.accuracy, "percent"),
        (of.balanced_accuracy, "percent"),
        (of.macro_auroc, "number"),
        (rule, "percent"),
    )
    return LevelRow(
        unit=level.unit,
        count=of.images,
        whose=whose,
        pooling=level.pooling,
        cells=tuple(
            (
                DASH if figure.value is None else number(figure.value, scale),
                interval(figure, scale) or DASH,
            )
            for figure, scale in shown
        ),
    )


@dataclass(frozen=True)
class SplitTable:
    """Images and patients: one row per class or source, one column per split."""

    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[SplitCell | None, ...]], ...]


def split_table(cells: tuple[SplitCell, ...], parts: tuple[str, ...]) -> SplitTable:
    """Arrange cells in the order in which their parts and names first come."""
    columns = tuple(dict.fromkeys((*parts, *(cell.part for cell in cells))))
    names = tuple(dict.fromkeys(cell.name for cell in cells))
    by_place = {(cell.name, cell.part): cell for cell in cells}
    return SplitTable(
        columns,
        tuple((name, tuple(by_place.get((name, part)) for part in columns)) for name in names),
    )


def shown_exclusions(
    exclusions: tuple[Exclusion, ...],
) -> tuple[tuple[Exclusion, ...], str]:
    """The most frequent exclusions, and a sentence on those not shown."""
    ordered = sorted(exclusions, key=lambda exclusion: -exclusion.count)
    shown, rest = ordered[: limits.REPORT_ROWS_MAX], ordered[limits.REPORT_ROWS_MAX :]
    further = ""
    if rest:
        further = (
            f"and {count(sum(exclusion.count for exclusion in rest), 'image')} for "
            f"{count(len(rest), 'further combination')} of reason, finding and source"
        )
    return tuple(shown), further
