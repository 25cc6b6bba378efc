"""The page of an external validation: a model elsewhere, beside how it does inside."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pulmospark
from pulmospark.core import files
from pulmospark.evaluation.results import Evaluation, Figure
from pulmospark.report import methods, tables, words
from pulmospark.report.curves import roc
from pulmospark.report.external_content import ExternalPage
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
_ONE_SET = (
    "One other set is one other set: the next hospital may differ, and films shared between "
    "public sets would make both figures alike. `pulmospark audit` looks for such copies."
)


def write_external_page(content: ExternalPage, path: Path) -> None:
    """Write the page; it appears whole or not at all.

    Raises:
        EnvironmentProblem: no space, or no right to write there.
    """
    files.write_text(path, render_external_page(content))


def render_external_page(content: ExternalPage) -> str:
    """The page as one HTML document: no script, and nothing fetched from anywhere."""
    evaluations = [column.evaluation for column in content.columns]
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
            tags=TAGS,
            facts=provenance_facts(content.provenance),
            settings=provenance_settings(content.provenance),
            notice=pulmospark.NOT_A_MEDICAL_DEVICE,
            version=pulmospark.__version__,
            made_at=content.made_at.astimezone(UTC),
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
    if content.inside is None or content.inside.accuracy.value is None:
        return f"{text}."
    return f"{text}. Inside it was {_figure(content.inside.accuracy, content.inside)}."


def verdict(inside: Evaluation | None, outside: Evaluation) -> Verdict:
    """Whether the figures hold elsewhere: by balanced accuracy, or accuracy where it has none."""
    if inside is None:
        return Verdict(
            "unknown",
            "The bundle has no figures from inside to compare with.",
            "Evaluate the run that made it, `pulmospark evaluate RUN`, and come back.",
        )
    for name, one, other in (
        ("Balanced accuracy", inside.balanced_accuracy, outside.balanced_accuracy),
        ("Accuracy", inside.accuracy, outside.accuracy),
    ):
        if one.value is not None and other.value is not None:
            return _compared(name, one, other)
    return Verdict("unknown", "No figure is defined both inside and elsewhere.")


def _compared(name: str, inside: Figure, outside: Figure) -> Verdict:
    points = 100 * ((outside.value or 0.0) - (inside.value or 0.0))
    if points >= 0:
        return Verdict(
            "good", f"{name} is no lower elsewhere than inside ({points:+.1f} points).", _ONE_SET
        )
    fell = f"{name} falls by {-points:.1f} points elsewhere"
    if _below(outside, inside):
        return Verdict("bad", f"{fell}, and the intervals do not meet.", _LOCAL)
    return Verdict("caution", f"{fell}; the intervals meet, so chance could do as much.", _LOCAL)


def _below(one: Figure, other: Figure) -> bool:
    """Whether the intervals part, the first's below; without both nothing is clear."""
    return one.high is not None and other.low is not None and one.high < other.low


TAGS = {
    "good": "No worse than inside",
    "caution": "Lower than inside, perhaps by chance",
    "bad": "Clearly lower than inside",
    "unknown": "Not compared",
}
"""the verdicts in a few words"""


def warnings(content: ExternalPage) -> tuple[str, ...]:
    """Plain sentences of what weakens the figures from elsewhere."""
    found = words.small_classes(content.outside)
    if content.inside_is_phantom and not content.is_phantom:
        found.append("The figures from inside are of drawn phantoms: they say nothing of people.")
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
