"""Numbers and findings in words: what the page says in sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pulmospark.core import limits
from pulmospark.evaluation.results import Evaluation, Figure
from pulmospark.report.content import ReportContent

DASH = "\N{EM DASH}"
MINUS = "\N{MINUS SIGN}"
Scale = Literal["percent", "number"]


def number(value: float, scale: Scale = "number") -> str:
    """A value as the page shows it: ``91.3%``, ``0.947``; a dash where it is no number."""
    if not math.isfinite(value):
        return DASH
    text = f"{value * 100:.1f}%" if scale == "percent" else f"{value:.3f}"
    return text.replace("-", MINUS)


def count(value: int, one: str, many: str | None = None) -> str:
    """A count with its noun: ``1 film``, ``1,204 films``."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """A time a reader can take in: ``0.42 s``, ``38 s``, ``4 min 05 s``, ``2 h 07 min``."""
    if seconds < 0.01:
        return "under 0.01 s"
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def interval(figure: Figure, scale: Scale = "number") -> str:
    """The interval of a figure: ``88.1% to 93.7%``; empty where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{number(figure.low, scale)} to {number(figure.high, scale)}"


def told(figure: Figure) -> str:
    """The value, or in words that there is none."""
    return "not defined" if figure.value is None else number(figure.value)


def confidence(evaluation: Evaluation) -> str:
    """The confidence of the intervals: ``95%``."""
    return f"{evaluation.confidence * 100:g}%"


def film_noun(content: ReportContent) -> str:
    """What is shown: films, or phantoms; never the one for the other."""
    return "phantom" if content.is_phantom else "film"


def groups(content: ReportContent) -> str:
    """Whose films were tested, as far as it is known; what the bootstrap resamples."""
    return groups_of(
        content.evaluation,
        content.films_without_patient,
        known=content.known_patients,
        patient=_patient_noun(content),
        film=film_noun(content),
    )


def _patient_noun(content: ReportContent) -> str:
    return "drawn patient" if content.is_phantom else "patient"


def groups_of(
    evaluation: Evaluation,
    unknown: int,
    *,
    known: int | None = None,
    patient: str = "patient",
    film: str = "film",
) -> str:
    """Whose films an evaluation is of, in words.

    Args:
        evaluation: of the films.
        unknown: how many of them have no known patient.
        known: patients of the others; a split that keeps near copies together makes fewer groups
            than these and the films of unknown ones. ``None``: a group each.
        patient: noun.
        film: noun.
    """
    joined = known is not None and known + unknown != evaluation.groups
    if unknown == 0:
        if known is not None and joined:
            return f"{count(known, patient)} ({_apart(evaluation)})"
        return count(evaluation.groups, patient)
    if unknown >= evaluation.films:
        own = f"{count(unknown, film)} ({_apart(evaluation)})"
        return f"{own if joined else count(evaluation.groups, film)}, no patient being known"
    several = "a patient, an image of an unknown one, or several joined by name or near copies"
    plain = "a patient, or a film of an unknown one"
    return f"{count(evaluation.groups, 'group')} ({several if joined else plain})"


def _apart(evaluation: Evaluation) -> str:
    """What the bootstrap draws where names or near copies join patients and images."""
    return f"{count(evaluation.groups, 'group')}, joined by name or near copy"


def units_of(
    evaluation: Evaluation, unknown: int, *, known: int | None = None, patient: str = "patient"
) -> str:
    """Whose scans or patients an evaluation is of: as :func:`groups_of`, which counts films."""
    if unknown:
        return count(evaluation.groups, "group")
    return groups_of(evaluation, 0, known=known, patient=patient)


def units(content: ReportContent, evaluation: Evaluation) -> str:
    """Whose scans or patients one level of a report is of."""
    return units_of(
        evaluation,
        content.films_without_patient,
        known=content.known_patients,
        patient=_patient_noun(content),
    )


def rightly_named(evaluation: Evaluation) -> int:
    """Films on the diagonal of the confusion matrix."""
    return sum(row[index] for index, row in enumerate(evaluation.confusion))


def headline(content: ReportContent) -> str:
    """The result in one plain sentence."""
    evaluation = content.evaluation
    noun = "drawn phantom" if content.is_phantom else "film"
    accuracy = evaluation.accuracy
    if evaluation.films == 0 or accuracy.value is None:
        return f"No {noun} was tested, so there is no accuracy to tell."
    result = f"accuracy {number(accuracy.value, 'percent')}"
    if span := interval(accuracy, "percent"):
        result += f" ({confidence(evaluation)} interval {span})"
    return (
        f"Of {count(evaluation.films, noun)} {_tested_on(content)}, the model named "
        f"{rightly_named(evaluation):,} rightly: {result}."
    )


def _tested_on(content: ReportContent) -> str:
    evaluation = content.evaluation
    cross = content.cross_validation
    never = "that it was not trained on"
    folds = ""
    if cross is not None:
        folds = f", in {count(len(cross.folds), 'fold')} that each served once as the test"
    if content.films_without_patient == 0:
        return f"of {groups(content)} {never}{folds}"
    if content.films_without_patient >= evaluation.films:
        return f"{never}{folds} (who the patients are is not known)"
    known = content.films_without_patient
    return f"{never}{folds} (the patient is not known for {known:,} of them)"


@dataclass(frozen=True)
class Verdict:
    """How the model does compared with the rules that look at no image."""

    tone: Literal["good", "caution", "bad", "unknown"]
    sentence: str
    explanation: str = ""
    named: str = ""
    """the verdict in a few words, where those of its tone do not fit"""

    @property
    def tag(self) -> str:
        """The verdict in a few words."""
        return self.named or _TAGS[self.tone]


_TAGS = {
    "good": "Better than the source alone",
    "caution": "May have learned the hospital",
    "bad": "No better than a rule without the image",
    "unknown": "Not assessable",
}


_LEARNED = (
    "It may have learned to tell the hospital or data set, not the disease: test it on a "
    "source that has every class, or on one it has never seen."
)
_ONE_SOURCE = (
    "With one source nobody can say whether it would recognise the hospital instead of the "
    "disease: add a source that has every class, or validate on a set from elsewhere."
)


def verdict(evaluation: Evaluation) -> Verdict:
    """Compare the model's accuracy with the two trivial rules, in words.

    Not assessable where there is nothing to compare with: no rules, no interval, images of one
    class alone, or one source, for which the rule of the source is the most frequent class.
    """
    trivial, model = evaluation.trivial, evaluation.accuracy
    if trivial is None or model.value is None:
        return Verdict(
            "unknown",
            "The accuracy was not compared with rules that look at no image.",
            "Without that comparison nobody can say whether the model learned more than where "
            "a film came from.",
        )
    if sum(1 for figures in evaluation.by_class if figures.support) < 2:
        return Verdict(
            "unknown",
            "All tested films are of one class: a rule that looks at no image is right for all "
            "of them or for none, so that comparing with it says nothing.",
        )
    common, source = trivial.most_frequent_class, trivial.most_frequent_class_of_source
    if common.value is None or _no_interval(model, common, source):
        return Verdict("unknown", "There is no confidence interval to compare by.")
    if not _above(model, common):
        return Verdict(
            "bad",
            "The model is not clearly better than always saying the most frequent class "
            f"({number(common.value, 'percent')}).",
            "It has learned nothing of use, or was tested on too few films to show it.",
        )
    if not trivial.source_assessable:
        return Verdict(
            "unknown",
            f"The model is {(model.value - common.value) * 100:.1f} points above always saying "
            f"the most frequent class ({number(common.value, 'percent')}), and their intervals "
            "do not meet. A rule that only knows the source cannot be compared with: the tested "
            "films are of one source.",
            _ONE_SOURCE,
            named="Better than the most frequent class; the source is not assessable",
        )
    return _beside_source(model, source, common.value)


def _no_interval(*figures: Figure) -> bool:
    return any(
        figure.value is not None and (figure.low is None or figure.high is None)
        for figure in figures
    )


def _beside_source(model: Figure, source: Figure, common: float) -> Verdict:
    if source.value is None or model.value is None:
        return Verdict("unknown", "The rule that only knows the source has no accuracy here.")
    known = number(source.value, "percent")
    if model.value <= source.value:
        return Verdict(
            "bad",
            f"A rule that only knows the source of a film, and never looks at it, does as well "
            f"or better ({known}).",
            _LEARNED,
        )
    if not _above(model, source):
        return Verdict(
            "caution",
            "The model's interval reaches that of a rule that only knows the source of a film "
            f"and never looks at it ({known}).",
            _LEARNED,
        )
    return _clearly_above(model.value, source.value, common)


def _clearly_above(model: float, source: float, common: float) -> Verdict:
    points = (model - source) * 100
    known = number(source, "percent")
    if model - source < limits.NEAR_SOURCE_RULE:
        return Verdict(
            "caution",
            f"The model is only {points:.1f} points above a rule that knows nothing but the "
            f"source of a film ({known}).",
            _LEARNED,
        )
    told = ""
    if source - common > limits.TELLING_SOURCES:
        told = (
            f" The sources alone give much away here: knowing them lifts the trivial rule from "
            f"{number(common, 'percent')} to {known}."
        )
    return Verdict(
        "good",
        f"The model is {points:.1f} points above a rule that knows nothing but the source of "
        f"a film ({known}), and their intervals do not meet.",
        "That speaks for features of the image, but does not prove it: age, view, burned-in "
        f"letters and the look of a device can still tell classes apart.{told}",
    )


def _above(model: Figure, rule: Figure) -> bool:
    """Whether the intervals part, the model's above; without both nothing is clear."""
    return model.low is not None and rule.high is not None and model.low > rule.high


def warnings(content: ReportContent) -> tuple[str, ...]:
    """Plain sentences of what weakens the result: the content's own, then the page's."""
    found = [*content.warnings, *small_classes(content.evaluation)]
    for source in content.sources:
        read = source.images - source.frames
        if read + source.rejects != source.files_seen:
            found.append(
                f"Source {source.name}: {count(source.files_seen, 'file')} seen, but "
                f"{count(read, 'file')} with images and {count(source.rejects, 'reject')}: "
                "they do not add up."
            )
    return tuple(dict.fromkeys(found))


def small_classes(evaluation: Evaluation) -> list[str]:
    """A sentence for each class with too few tested films for more than coarse figures."""
    none = [
        f"Class \N{LEFT DOUBLE QUOTATION MARK}{figures.name}\N{RIGHT DOUBLE QUOTATION MARK} has "
        "no tested film: its sensitivity is not assessable."
        for figures in evaluation.by_class
        if not figures.support
    ]
    return none + [
        f"Class \N{LEFT DOUBLE QUOTATION MARK}{figures.name}"
        f"\N{RIGHT DOUBLE QUOTATION MARK} has {count(figures.support, 'tested film')}, "
        f"fewer than {limits.SMALL_CLASS_FILMS}: its figures are coarse, and one film "
        "more or less moves them."
        for figures in evaluation.by_class
        if 0 < figures.support < limits.SMALL_CLASS_FILMS
    ]
