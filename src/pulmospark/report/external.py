"""The page of an external validation: the model elsewhere, compared with inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pulmospark.core import files, limits
from pulmospark.evaluation import registry
from pulmospark.evaluation.by_class import class_differences
from pulmospark.evaluation.results import ClassDifference, Evaluation
from pulmospark.report import methods, numbers, phrasing, tables
from pulmospark.report.curves import roc
from pulmospark.report.external_content import Column, ExternalPage
from pulmospark.report.external_plot import side_by_side
from pulmospark.report.figures import confusion, reliability
from pulmospark.report.page import fill, provenance_facts, provenance_settings
from pulmospark.report.phrasing import Verdict
from pulmospark.report.svg import Drawing

_LOCAL = (
    "Where the AUROC holds, only the probabilities and thresholds do not transfer: recalibrate. "
    "Where the AUROC falls, recalibration does not help."
)
_ONE_SET = "This is one external data set: the next hospital may differ."


def write_external_page(content: ExternalPage, path: Path) -> None:
    """Write the page atomically.

    Raises:
        PlatformError: no space, or no right to write there.
    """
    files.write_text(path, render_external_page(content))


def render_external_page(content: ExternalPage) -> str:
    """The page as one HTML document: no script, and nothing fetched from anywhere."""
    evaluations = [_marked(column, content.inside) for column in content.columns]
    whose = _whose(content)
    drawn = [roc(content.outside), confusion(content.outside)]
    levels = (numbers.confidence(evaluation) for evaluation in evaluations)
    return fill(
        "external.html.j2",
        content.is_phantom,
        content.made_at,
        content=content,
        columns=content.columns,
        headline=headline(content),
        verdict=verdict(content.inside, content.outside),
        warnings=warnings(content),
        groups=whose,
        side_by_side=side_by_side(content.columns),
        calibration=calibration_drawings(content),
        drawings=[drawing for drawing in drawn if drawing is not None],
        overall=tables.overall_table(evaluations),
        by_class=tables.classes_beside(evaluations),
        operating=tables.operating_table(evaluations),
        confidence=" and ".join(dict.fromkeys(levels)),
        effect=effect(content),
        methods=methods.beside_methods(evaluations, content.outside, whose),
        compared=() if content.inside is None else comparison_rows(content),
        facts=provenance_facts(content.provenance),
        settings=provenance_settings(content.provenance),
        points=lambda value: f"{100 * value:+.1f}".replace("-", numbers.MINUS),
        margin=f"{100 * limits.EXTERNAL_FALL_MARGIN:g}",
        signed=lambda value: f"{value:+.2f}".replace("-", numbers.MINUS),
    )


def _noun(content: ExternalPage) -> str:
    return "phantom" if content.is_phantom else "image"


def _whose(content: ExternalPage) -> str:
    patient = "synthetic patient" if content.is_phantom else "patient"
    return phrasing.groups_of(
        content.outside, content.images_without_patient, patient=patient, image=_noun(content)
    )


def headline(content: ExternalPage) -> str:
    """The accuracy elsewhere, and that inside, in plain sentences."""
    outside, inside = content.outside, content.inside
    level = numbers.confidence(outside)
    text = (
        f"External test set: {numbers.count(outside.images, _noun(content))} of "
        f"{_whose(content)}. "
        f"{phrasing.classified_correctly(outside):,} of {outside.images:,} classified correctly: "
        f"accuracy {numbers.with_ci(outside.accuracy, level)}."
    )
    if inside is None or inside.accuracy.value is None:
        return text
    if _lacking(inside, outside):
        return f"{text} The accuracy inside is of more classes, and not comparable."
    return f"{text} Inside: {numbers.with_ci(inside.accuracy, numbers.confidence(inside))}."


def _marked(column: Column, inside: Evaluation | None) -> Evaluation:
    """An evaluation whose figures over all classes say so where they are of fewer than inside."""
    own = column.evaluation
    if inside is None or column.key == "inside" or not _lacking(inside, own):
        return own
    note = f"no image of {', '.join(_lacking(inside, own))}: not comparable with inside"
    marked = {
        metric.name: metric.of(own).model_copy(update={"note": note})
        for metric in registry.overall()
        if metric.better == "higher"
    }
    return own.model_copy(update=marked)


def _lacking(inside: Evaluation, outside: Evaluation) -> list[str]:
    """Classes that are tested inside, and of which the other set holds no image."""
    held = {figures.name for figures in outside.by_class if figures.support}
    return [row.name for row in inside.by_class if row.support and row.name not in held]


def verdict(inside: Evaluation | None, outside: Evaluation) -> Verdict:
    """Whether the model holds elsewhere: by the sensitivity of each class that both sets hold."""
    if inside is None:
        return Verdict(
            "unknown",
            "The bundle has no metrics from inside to compare with.",
            "Evaluate the run that it is from first: `pulmospark evaluate RUN`.",
            named=TAGS["unknown"],
        )
    return compared(class_differences(inside, outside))


def compared(classes: Sequence[ClassDifference]) -> Verdict:
    """The verdict on classes that were compared one by one, and what could not be."""
    by_finding: dict[str, list[ClassDifference]] = {}
    for difference in classes:
        by_finding.setdefault(difference.finding, []).append(difference)
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
    details = [
        _change(difference) for finding in order for difference in by_finding.get(finding, [])
    ]
    sentence = f"Sensitivity elsewhere against inside: {'; '.join(details)}."
    if missing:
        sentence += f" Not assessable: {_missing(missing)}."
    return Verdict(tone, sentence, _ONE_SET if tone == "good" else _LOCAL, named=named)


def _change(difference: ClassDifference) -> str:
    """A class in words: both sensitivities, their difference, and what it shows."""
    values = (difference.inside, difference.outside, difference.change)
    inside, outside, change = (100 * (figure.value or 0.0) for figure in values)
    low, high = 100 * (difference.change.low or 0.0), 100 * (difference.change.high or 0.0)
    shown = {
        "lower": "clearly lower",
        "not lower": "no worse",
        "unclear": f"no clear difference, but a fall of up to {-low:.0f} points is not excluded",
    }[difference.finding]
    text = (
        f"{outside:.1f}{numbers.PERCENT} against {inside:.1f}{numbers.PERCENT}, {change:+.1f} "
        f"points ({low:+.1f} to {high:+.1f})"
    )
    return f"{difference.name} {text.replace('-', numbers.MINUS)}, {shown}"


def _missing(classes: Sequence[ClassDifference]) -> str:
    """Classes that could not be compared, each with what it lacks."""
    return "; ".join(f"{difference.name} ({_lacks(difference)})" for difference in classes)


def _lacks(difference: ClassDifference) -> str:
    sides = [("inside", difference.inside), ("elsewhere", difference.outside)]
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
    """Plain sentences on what weakens the metrics from elsewhere."""
    texts = phrasing.small_classes(content.outside)
    if content.inside is not None and (lacking := _lacking(content.inside, content.outside)):
        texts.append(
            f"The set holds no image of {', '.join(lacking)}: its accuracy, balanced accuracy and "
            "macro AUROC are of other classes than those inside, and not comparable."
        )
    if content.inside_is_phantom and not content.is_phantom:
        texts.append("The metrics from inside are of phantoms: they say nothing about people.")
    if content.training_copies and not content.training_copies.startswith("No copy"):
        texts.append(content.training_copies)
    if unknown := content.images_without_patient:
        texts.append(
            f"No patient is known for {numbers.count(unknown, _noun(content))}: several of one "
            "patient would make the CIs too narrow."
        )
    return tuple(texts)


def calibration_drawings(content: ExternalPage) -> list[Drawing]:
    """A reliability diagram for each evaluation, with the same axes."""
    drawn = (
        reliability(
            column.evaluation,
            f"reliability-{column.key}",
            f"Reliability diagram, {column.title.lower()}",
        )
        for column in content.columns
    )
    return [drawing for drawing in drawn if drawing is not None]


def comparison_rows(content: ExternalPage) -> tuple[tuple[ClassDifference, str], ...]:
    """Each class inside and elsewhere, and what the difference shows in words."""
    if content.inside is None:
        return ()
    differences = class_differences(content.inside, content.outside)
    return tuple(
        (row, f"not assessable: {_lacks(row)}" if row.finding == "not assessable" else row.finding)
        for row in differences
    )


def effect(content: ExternalPage) -> str | None:
    """The effect of the recalibration on images it was not fitted on; ``None`` without one."""
    after = content.recalibrated
    if after is None:
        return None
    before = content.outside
    changes = [
        f"the {metric.words} from "
        f"{numbers.shown_value(metric.of(before), metric.scale)} to "
        f"{numbers.shown_value(metric.of(after), metric.scale)}"
        for metric in reversed(registry.overall("external"))
    ]
    others = numbers.count(after.images, _noun(content))
    return f"On the other {others} it changed {', '.join(changes)}."
