"""The page of an external validation: a model elsewhere, beside how it does inside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Literal

import pulmospark
from pulmospark.core import files, limits
from pulmospark.evaluation.by_class import class_differences
from pulmospark.evaluation.results import ClassDifference, Evaluation, Figure
from pulmospark.report import methods, tables, words
from pulmospark.report.curves import roc
from pulmospark.report.external_content import Column, ExternalPage
from pulmospark.report.external_plot import beside
from pulmospark.report.figures import confusion, reliability
from pulmospark.report.page import environment, provenance_facts, provenance_settings
from pulmospark.report.phantom import say_phantoms
from pulmospark.report.svg import Drawing
from pulmospark.report.text import clean_text
from pulmospark.report.words import Verdict

_TEMPLATE = "external.html.j2"
_OF_CLASS = ("sensitivity", "specificity", "auroc")
_LOCAL = (
    "Where the AUROC holds, the model sees what it should, and its probabilities and thresholds "
    "were the old hospital's: recalibrate. Where the AUROC falls, no recalibration helps."
)
_ONE_SET = "One other set is one other set: the next hospital may differ."


def write_external_page(content: ExternalPage, path: Path) -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        EnvironmentProblem: no space, or no right to write there.
    """
    files.write_text(path, render_external_page(content))


def render_external_page(content: ExternalPage) -> str:
    """The page as one HTML document: no script, and nothing fetched from anywhere."""
    evaluations = [_marked(column, content.inside) for column in content.columns]
    whose = words.groups_of(content.outside, content.films_without_patient)
    drawn = [roc(content.outside), confusion(content.outside)]
    page = (
        environment()
        .get_template(_TEMPLATE)
        .render(
            content=content,
            columns=content.columns,
            headline=headline(content),
            verdict=verdict(content.inside, content.outside),
            warnings=warnings(content),
            groups=whose,
            beside=beside(content.columns),
            calibration=calibration_drawings(content),
            drawings=[one for one in drawn if one is not None],
            overall=tables.overall_beside(evaluations),
            by_class=tables.classes_beside(evaluations, _OF_CLASS),
            operating=tables.operating_beside(evaluations),
            confidence=" and ".join(dict.fromkeys(words.confidence(one) for one in evaluations)),
            effect=effect(content),
            methods=methods.beside_methods(evaluations, content.outside, whose),
            compared=() if content.inside is None else comparison_rows(content),
            facts=provenance_facts(content.provenance),
            settings=provenance_settings(content.provenance),
            notice=pulmospark.NOT_A_MEDICAL_DEVICE,
            version=pulmospark.__version__,
            made_at=content.made_at.astimezone(UTC),
            points=lambda value: f"{100 * value:+.1f}".replace("-", words.MINUS),
            margin=f"{100 * limits.EXTERNAL_FALL_MARGIN:g}",
            signed=lambda value: f"{value:+.2f}".replace("-", words.MINUS),
        )
    )
    if content.is_phantom:
        page = say_phantoms(page)
    cleaned: str = clean_text(page)
    return cleaned


def headline(content: ExternalPage) -> str:
    """How the model does elsewhere, and how it did inside, in one plain sentence."""
    told = content.outside
    whose = words.groups_of(told, content.films_without_patient)
    text = (
        f"Of {words.count(told.films, 'film')} from elsewhere, of {whose}, the model named "
        f"{words.rightly_named(told):,} rightly: accuracy {_figure(told.accuracy, told)}"
    )
    inside = content.inside
    if inside is None or inside.accuracy.value is None:
        return f"{text}."
    if _lacking(inside, told):
        return f"{text}. The accuracy inside is of more classes, and not comparable."
    return f"{text}. Inside it was {_figure(inside.accuracy, inside)}."


def _marked(column: Column, inside: Evaluation | None) -> Evaluation:
    """An evaluation whose figures over all classes say so where they are of fewer than inside."""
    told = column.evaluation
    if inside is None or column.key == "inside" or not _lacking(inside, told):
        return told
    note = f"no image of {', '.join(_lacking(inside, told))}: not comparable with inside"
    names = ("accuracy", "balanced_accuracy", "macro_auroc")
    marked = {name: getattr(told, name).model_copy(update={"note": note}) for name in names}
    return told.model_copy(update=marked)


def _lacking(inside: Evaluation, outside: Evaluation) -> list[str]:
    """Classes that are tested inside, and of which the other set holds no image."""
    held = {figures.name for figures in outside.by_class if figures.support}
    return [one.name for one in inside.by_class if one.support and one.name not in held]


def verdict(inside: Evaluation | None, outside: Evaluation) -> Verdict:
    """Whether the model holds elsewhere: by the sensitivity of each class that both sets hold."""
    if inside is None:
        return Verdict(
            "unknown",
            "The bundle has no figures from inside to compare with.",
            "Evaluate the run that made it, `pulmospark evaluate RUN`, and come back.",
            named=TAGS["unknown"],
        )
    return compared(class_differences(inside, outside))


def compared(classes: Sequence[ClassDifference]) -> Verdict:
    """The verdict on classes that were compared one by one, and what could not be."""
    by_finding: dict[str, list[ClassDifference]] = {}
    for one in classes:
        by_finding.setdefault(one.finding, []).append(one)
    missing = by_finding.get("not assessable", [])
    if len(missing) == len(classes):
        return Verdict(
            "unknown",
            f"No class could be compared: {_missing(missing)}.",
            named=TAGS["unknown"],
        )
    tone: Tone = "good"
    if missing or "unclear" in by_finding:
        tone = "caution"
    if "lower" in by_finding:
        tone = "bad"
    named = TAGS[tone]
    if tone == "caution" and "unclear" not in by_finding:
        shared = len(classes) - len(missing)
        named = (
            f"No worse than inside in {shared} of {len(classes)} classes; not assessable in others"
        )
    order = ("lower", "unclear", "not lower")
    said = [_change(one) for finding in order for one in by_finding.get(finding, [])]
    sentence = f"Sensitivity elsewhere against inside: {'; '.join(said)}."
    if missing:
        sentence += f" Not assessable: {_missing(missing)}."
    return Verdict(tone, sentence, _ONE_SET if tone == "good" else _LOCAL, named=named)


def _change(one: ClassDifference) -> str:
    """A class in words: both sensitivities, their difference, and what it shows."""
    values = (one.inside, one.outside, one.change)
    inside, outside, change = (100 * (figure.value or 0.0) for figure in values)
    low, high = 100 * (one.change.low or 0.0), 100 * (one.change.high or 0.0)
    shown = {
        "lower": "clearly lower",
        "not lower": "no worse",
        "unclear": f"no clear difference, but a fall of up to {-low:.0f} points is not excluded",
    }[one.finding]
    text = (
        f"{outside:.1f}% against {inside:.1f}%, {change:+.1f} points ({low:+.1f} to {high:+.1f})"
    )
    return f"{one.name} {text.replace('-', words.MINUS)}, {shown}"


def _missing(classes: Sequence[ClassDifference]) -> str:
    """Classes that could not be compared, each with what it lacks."""
    return "; ".join(f"{one.name} ({_lacks(one)})" for one in classes)


def _lacks(one: ClassDifference) -> str:
    sides = [("inside", one.inside), ("elsewhere", one.outside)]
    without = [where for where, figure in sides if figure.value is None]
    if without:
        return f"no image {' or '.join(without)}"
    return "no confidence interval"


Tone = Literal["good", "caution", "bad", "unknown"]
TAGS: dict[Tone, str] = {
    "good": "No worse than inside",
    "caution": "No clear difference from inside",
    "bad": "Clearly lower than inside",
    "unknown": "Not compared",
}
"""the verdicts in a few words"""


def warnings(content: ExternalPage) -> tuple[str, ...]:
    """Plain sentences of what weakens the figures from elsewhere."""
    found = words.small_classes(content.outside)
    if content.inside is not None and (lacking := _lacking(content.inside, content.outside)):
        found.append(
            f"The set holds no image of {', '.join(lacking)}: its accuracy, balanced accuracy and "
            "macro AUROC are of other classes than those inside, and not comparable."
        )
    if content.inside_is_phantom and not content.is_phantom:
        found.append("The figures from inside are of drawn phantoms: they say nothing of people.")
    if content.training_copies and not content.training_copies.startswith("No copy"):
        found.append(content.training_copies)
    if unknown := content.films_without_patient:
        found.append(
            f"No patient is known of {words.count(unknown, 'film')}: several of one patient "
            "would make the intervals too narrow."
        )
    return tuple(found)


def calibration_drawings(content: ExternalPage) -> list[Drawing]:
    """A reliability diagram for each evaluation, with the same axes."""
    drawn = (
        reliability(one.evaluation, f"reliability-{one.key}", f"Reliability, {one.title.lower()}")
        for one in content.columns
    )
    return [one for one in drawn if one is not None]


def comparison_rows(content: ExternalPage) -> tuple[tuple[ClassDifference, str], ...]:
    """Each class inside and elsewhere, and what the difference shows in words."""
    if content.inside is None:
        return ()
    differences = class_differences(content.inside, content.outside)
    return tuple(
        (one, f"not assessable: {_lacks(one)}" if one.finding == "not assessable" else one.finding)
        for one in differences
    )


def effect(content: ExternalPage) -> str | None:
    """What the recalibration did on films that it was not fitted on; ``None`` without one."""
    after = content.recalibrated
    if after is None:
        return None
    before = content.outside
    told = [
        f"{name} from {_plain(getattr(before, field), scale)} to "
        f"{_plain(getattr(after, field), scale)}"
        for field, name, scale in _CHANGED
    ]
    return f"On the other {words.count(after.films, 'film')} it took {', '.join(told)}."


_CHANGED: tuple[tuple[str, str, words.Scale], ...] = (
    ("calibration_error", "the calibration error", "number"),
    ("log_loss", "the log loss", "number"),
    ("accuracy", "the accuracy", "percent"),
    ("macro_auroc", "the macro AUROC", "number"),
)


def _figure(figure: Figure, evaluation: Evaluation) -> str:
    if figure.value is None:
        return "not defined"
    span = words.interval(figure, "percent")
    told = f" ({words.confidence(evaluation)} interval {span})" if span else ""
    return f"{words.number(figure.value, 'percent')}{told}"


def _plain(figure: Figure, scale: words.Scale) -> str:
    return "not defined" if figure.value is None else words.number(figure.value, scale)
