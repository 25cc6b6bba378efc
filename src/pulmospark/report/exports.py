"""Files for a paper: every plot as SVG and PDF, the metrics, the predictions, a LaTeX table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pulmospark.core import files
from pulmospark.core.csv_files import write_row
from pulmospark.evaluation import registry
from pulmospark.evaluation.long_form import Subject, metric_entries
from pulmospark.evaluation.registry import Scale
from pulmospark.evaluation.results import Figure
from pulmospark.report.content import ReportContent
from pulmospark.report.numbers import DASH, confidence, count, interval, number
from pulmospark.report.phrasing import groups, image_noun
from pulmospark.report.svg import Drawing

_METRIC_COLUMNS = (
    *("level", "class", "metric", "value", "ci_low", "ci_high", "confidence", "ci_method"),
    *("numerator", "denominator", "effective_n", "groups", "note"),
)
_PREFIXES: dict[Subject, str] = {
    "model": "",
    "operating_point": "operating_",
    "baseline": "baseline_",
}
_FACTS = ("image_id", "source", "split", "fold", "label", "prediction")
"""columns that ``predictions.csv`` takes over: no path of this machine, and no patient's id"""
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{"\N{NO-BREAK SPACE}": "~", "\N{MINUS SIGN}": "$-$", DASH: "---", "`": r"\textasciigrave{}"},
}
_NOT_PRINTED = re.compile(r"[\x00-\x1f\x7f]")


def write_exports(
    content: ReportContent, drawings: Mapping[str, Drawing], parts: Iterable[Path], target: Path
) -> None:
    """Write the folder of files for a paper atomically.

    Args:
        content: of the report.
        drawings: of the report.
        parts: Parquet parts of the predictions.
        target: the folder; one that is there is replaced.

    Raises:
        PlatformError: no space, or no right to write there.
    """
    with files.whole_folder(target) as aside:
        for name, drawing in drawings.items():
            (aside / f"{name}.svg").write_text(drawing.svg_file(), encoding="utf-8")
            (aside / f"{name}.pdf").write_bytes(drawing.pdf_file())
        with (aside / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
            write_row(file, _METRIC_COLUMNS)
            for row in metric_rows(content):
                write_row(file, row)
        _write_predictions(parts, content.evaluation.classes, aside / "predictions.csv")
        (aside / "table.tex").write_text(latex_table(content), encoding="utf-8")


def metric_rows(content: ReportContent) -> Iterator[tuple[Any, ...]]:
    """The rows of ``metrics.csv``: every metric with its CI, folds and other levels with it."""
    evaluations = [(image_noun(content), content.evaluation)]
    evaluations += [(level.unit, level.evaluation) for level in content.levels]
    if content.cross_validation is not None:
        folds = enumerate(content.cross_validation.folds, 1)
        evaluations += [(f"fold {at}", fold) for at, fold in folds]
    for level, evaluation in evaluations:
        for entry in metric_entries(evaluation):
            metric = entry.figure
            yield (
                *(level, entry.class_name, f"{_PREFIXES[entry.subject]}{entry.name}"),
                *(metric.value, metric.low, metric.high),
                None if metric.low is None else evaluation.confidence,
                metric.method,
                *(metric.numerator, metric.denominator, metric.effective, metric.groups),
                metric.note,
            )


def _write_predictions(parts: Iterable[Path], classes: Sequence[str], target: Path) -> None:
    groups: dict[str, int] = {}
    with target.open("w", encoding="utf-8", newline="") as file:
        write_row(file, (*_FACTS, "group", *(f"probability_{name}" for name in classes)))
        for part in parts:
            batches = pq.ParquetFile(part).iter_batches(
                columns=[*_FACTS, "group_id", "probability"]
            )
            for row in (row for batch in batches for row in batch.to_pylist()):
                if row["fold"] is not None:  # every image of a fold is tested
                    row["split"] = None
                # A group is called by its patient: a number says as much to a bootstrap.
                group = groups.setdefault(row["group_id"], len(groups))
                write_row(file, (*(row[name] for name in _FACTS), group, *row["probability"]))


def latex_table(content: ReportContent) -> str:
    """The metrics of each class and over all as a LaTeX table; needs the package booktabs."""
    evaluation = content.evaluation
    level = confidence(evaluation)
    shown = registry.of_class("latex")
    heads = ["Class", f"{image_noun(content).capitalize()}s", *(m.label for m in shown)]
    rows = [
        [row.name, f"{row.support:,}", *(_ci(m.of(row), m.scale) for m in shown)]
        for row in evaluation.by_class
    ]
    overall: list[tuple[str, Figure, Scale]] = [
        (metric.label, metric.of(evaluation), metric.scale) for metric in registry.overall("latex")
    ]
    if (operating := evaluation.operating) is not None:
        positive = operating.point.positive_class
        for metric in registry.of_decisions():
            if "terminal" in metric.shown_in:
                of = f"{metric.label} for {positive} at the operating point"
                overall.append((of, metric.of(operating), metric.scale))
    if evaluation.trivial is not None:
        overall += [
            (label, getattr(evaluation.trivial, name), "percent")
            for name, label in registry.BASELINES.items()
        ]
    width = len(heads)
    spans = [
        rf"\multicolumn{{{width - 1}}}{{l}}{{{latex(name)}}} & {latex(_ci(figure, scale))} \\"
        for name, figure, scale in overall
    ]
    caption = (
        f"{content.title}: performance on {count(evaluation.images, image_noun(content))} of "
        f"{groups(content)} ({level} CI)."
    )
    return "\n".join(
        [
            r"% \usepackage{booktabs} \usepackage[T1]{fontenc}",
            r"\begin{table}",
            rf"\caption{{{latex(caption)}}}",
            rf"\begin{{tabular}}{{lr{'l' * (width - 2)}}}",
            r"\toprule",
            _line(heads),
            r"\midrule",
            *map(_line, rows),
            r"\midrule",
            *spans,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Text as LaTeX prints it: every special character escaped, on one line."""
    line = _NOT_PRINTED.sub(" ", text)
    return "".join(_LATEX.get(character, character) for character in line)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(map(latex, cells)) + r" \\"


def _ci(figure: Figure, scale: Scale) -> str:
    span = interval(figure, scale)
    value = DASH if figure.value is None else number(figure.value, scale)
    return value + (f" ({span})" if span else "")
