"""The figures as table cells, with footnotes for what is not defined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pulmospark.core import limits
from pulmospark.evaluation.results import (
    ClassFigures,
    CrossValidation,
    Evaluation,
    Figure,
    FoldSummary,
)
from pulmospark.report.content import Exclusion, Level, ReportContent, SplitCell
from pulmospark.report.methods import METHODS, effective_words
from pulmospark.report.words import (
    DASH,
    Scale,
    count,
    film_noun,
    groups,
    interval,
    number,
    units,
)

_NO_INTERVAL = "No interval could be had from so few films or patients."
_CLASS_COLUMNS: tuple[tuple[str, str, Scale, str], ...] = (
    ("sensitivity", "Sensitivity", "percent", "Sensitivity: no tested film is of this class."),
    ("specificity", "Specificity", "percent", "Specificity: every tested film is of this class."),
    ("ppv", "PPV", "percent", "PPV: no tested film was given this class."),
    ("npv", "NPV", "percent", "NPV: every tested film was given this class."),
    ("f1", "F1", "number", "F1: the class is neither among the labels nor the predictions."),
    (
        "mcc",
        "MCC",
        "number",
        "MCC: all labels, or all predictions, are on one side of the class.",
    ),
    ("auroc", "AUROC", "number", "AUROC: needs films of the class and films of others."),
    ("auprc", "AUPRC", "number", "AUPRC: no tested film is of this class."),
)
_OVERALL: tuple[tuple[str, str, Scale, str, str], ...] = (
    ("accuracy", "Accuracy", "percent", "share of films named rightly", "no film was tested"),
    (
        "balanced_accuracy",
        "Balanced accuracy",
        "percent",
        "mean sensitivity of the classes, each counting the same",
        "a class has no tested film",
    ),
    (
        "macro_auroc",
        "Macro AUROC",
        "number",
        "mean area under the ROC curves of the classes; chance 0.5",
        "a class has no tested film, or all have one class",
    ),
    (
        "log_loss",
        "Log loss",
        "number",
        "cost of the probabilities given; lower is better",
        "no film was tested",
    ),
    (
        "brier",
        "Brier score",
        "number",
        "squared error of the probabilities, 0 to 2; lower is better",
        "no film was tested",
    ),
    (
        "calibration_error",
        "Calibration error",
        "number",
        "mean gap between the probability given and the share right; lower is better",
        "no film was tested",
    ),
)
_FOLD_NAMES = {
    **{name: label for name, label, _, _, _ in _OVERALL},
    **{name: label for name, label, _, _ in _CLASS_COLUMNS},
}


@dataclass(frozen=True)
class Cell:
    """One figure as it stands in a table."""

    value: str
    interval: str = ""
    ratio: str = ""
    """numerator / denominator of a plain proportion"""
    method: str = ""
    effective: str = ""
    """effective sample size of a proportion, where its interval is of that"""
    note: int | None = None
    """number of the footnote, from 1"""

    @property
    def undefined(self) -> bool:
        """Whether the figure has no value."""
        return self.value == DASH


@dataclass(frozen=True)
class Row:
    """One row: its heading, a word on it, and its cells."""

    heading: str
    cells: tuple[Cell, ...]
    about: str = ""
    films: int | None = None


@dataclass(frozen=True)
class FigureTable:
    """A table of figures with its footnotes."""

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


def _cell(figure: Figure, scale: Scale, why_undefined: str, notes: _Notes) -> Cell:
    if figure.value is None or not math.isfinite(figure.value):
        return Cell(DASH, note=notes.mark(why_undefined))
    span = interval(figure, scale)
    ratio = ""
    if figure.numerator is not None and figure.denominator is not None:
        ratio = f"{figure.numerator:,} / {figure.denominator:,}"
    note = _NO_INTERVAL if figure.note is None else _sentence(figure.note)
    return Cell(
        number(figure.value, scale),
        span,
        ratio,
        METHODS[figure.method],
        effective_words(figure),
        None if span and figure.note is None else notes.mark(note),
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def overall_table(evaluation: Evaluation) -> FigureTable:
    """The figures over all classes, one a row."""
    notes = _Notes()
    rows = tuple(
        Row(label, (_cell(getattr(evaluation, name), scale, f"{label}: {why}.", notes),), about)
        for name, label, scale, about, why in _OVERALL
    )
    return FigureTable(("Value",), rows, tuple(notes.texts))


def overall_beside(evaluations: Sequence[Evaluation]) -> FigureTable:
    """The figures over all classes, one a row, each evaluation in a column of its own."""
    notes = _Notes()
    rows = tuple(
        Row(
            label,
            tuple(
                _cell(getattr(one, name), scale, f"{label}: {why}.", notes) for one in evaluations
            ),
            about,
        )
        for name, label, scale, about, why in _OVERALL
    )
    return FigureTable((), rows, tuple(notes.texts))


def classes_beside(evaluations: Sequence[Evaluation], columns: Sequence[str]) -> FigureTable:
    """Some figures of each class, one a row, each evaluation in a column of its own.

    Args:
        evaluations: of the same classes in the same order.
        columns: fields of ``ClassFigures``: those shown, in the order of the class table.
    """
    notes = _Notes()
    shown = [one for one in _CLASS_COLUMNS if one[0] in columns]
    rows = tuple(
        Row(
            figures.name,
            tuple(
                _cell(getattr(one.by_class[place], name), scale, why, notes) for one in evaluations
            ),
            label,
        )
        for place, figures in enumerate(evaluations[0].by_class)
        for name, label, scale, why in shown
    )
    return FigureTable((), rows, tuple(notes.texts))


def operating_beside(evaluations: Sequence[Evaluation]) -> FigureTable | None:
    """The operating point's figures, one a row, each evaluation in a column of its own.

    ``None`` where one of them has no operating point.
    """
    points = [one.operating for one in evaluations]
    if any(point is None for point in points):
        return None
    notes = _Notes()
    rows = tuple(
        Row(label, tuple(_cell(getattr(one, name), scale, why, notes) for one in points))
        for name, label, scale, why in _CLASS_COLUMNS[:4]
    )
    return FigureTable((), rows, tuple(notes.texts))


def class_table(evaluation: Evaluation) -> FigureTable:
    """Each class against the rest, one a row."""
    notes = _Notes()
    rows = tuple(_class_row(figures, notes) for figures in evaluation.by_class)
    return FigureTable(tuple(label for _, label, _, _ in _CLASS_COLUMNS), rows, tuple(notes.texts))


def _class_row(figures: ClassFigures, notes: _Notes) -> Row:
    cells = tuple(
        _cell(getattr(figures, name), scale, why, notes) for name, _, scale, why in _CLASS_COLUMNS
    )
    return Row(figures.name, cells, films=figures.support)


def operating_table(evaluation: Evaluation) -> FigureTable | None:
    """How the operating point does on the tested films."""
    operating = evaluation.operating
    if operating is None:
        return None
    notes = _Notes()
    rows = tuple(
        Row(label, (_cell(getattr(operating, name), scale, why, notes),))
        for name, label, scale, why in _CLASS_COLUMNS[:4]
    )
    return FigureTable(("Value",), rows, tuple(notes.texts))


@dataclass(frozen=True)
class FoldRow:
    """One figure over the folds, ready to show."""

    name: str
    of: str | None
    """class that it is of, where it is of one"""
    mean: str
    spread: str
    values: tuple[str, ...]


def fold_rows(cross: CrossValidation) -> tuple[FoldRow, ...]:
    """One row a figure: mean, standard deviation and each fold's value."""
    return tuple(_fold_row(summary) for summary in cross.summary)


def _fold_row(summary: FoldSummary) -> FoldRow:
    scale: Scale = "percent" if summary.name in {"accuracy", "balanced_accuracy"} else "number"

    def shown(value: float | None) -> str:
        return DASH if value is None else number(value, scale)

    return FoldRow(
        fold_name(summary),
        summary.class_name,
        shown(summary.mean),
        shown(summary.spread),
        tuple(map(shown, summary.values)),
    )


def fold_name(summary: FoldSummary) -> str:
    """A figure over the folds, for people; whose it is stands in ``class_name``."""
    return _FOLD_NAMES.get(summary.name, summary.name.replace("_", " "))


@dataclass(frozen=True)
class LevelRow:
    """The main figures of one level; each with its interval."""

    unit: str
    count: int
    whose: str
    """patients or groups that they are of, in words"""
    pooling: str
    cells: tuple[tuple[str, str], ...]
    """value and interval: accuracy, balanced accuracy, macro AUROC, rule of the source"""


def level_rows(content: ReportContent) -> tuple[LevelRow, ...]:
    """One row a level, that of the single films first; none where there is no other."""
    first = Level(unit=film_noun(content), pooling=DASH, evaluation=content.evaluation)
    if not content.levels:
        return ()
    others = (_level_row(one, units(content, one.evaluation)) for one in content.levels)
    return (_level_row(first, groups(content)), *others)


def _level_row(level: Level, whose: str) -> LevelRow:
    told = level.evaluation
    rule = told.trivial.most_frequent_class_of_source if told.trivial else Figure(value=None)
    shown: tuple[tuple[Figure, Scale], ...] = (
        (told.accuracy, "percent"),
        (told.balanced_accuracy, "percent"),
        (told.macro_auroc, "number"),
        (rule, "percent"),
    )
    return LevelRow(
        unit=level.unit,
        count=told.films,
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
    """Films and patients: a row a class or source, a column a part."""

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
    ordered = sorted(exclusions, key=lambda one: -one.count)
    shown, rest = ordered[: limits.REPORT_ROWS_MAX], ordered[limits.REPORT_ROWS_MAX :]
    told = ""
    if rest:
        told = (
            f"and {count(sum(one.count for one in rest), 'image')} for "
            f"{count(len(rest), 'further combination')} of reason, finding and source"
        )
    return tuple(shown), told
