"""Findings in words: what the page says in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pulmospark.core import limits
from pulmospark.evaluation.results import Evaluation, Figure
from pulmospark.report.content import ReportContent
from pulmospark.report.numbers import count, number


def image_noun(content: ReportContent) -> str:
    """What is shown: images, or phantoms; never the one for the other."""
    return "phantom" if content.is_phantom else "image"


def patient_noun(content: ReportContent) -> str:
    """Whose they are: patients, or synthetic ones."""
    return "synthetic patient" if content.is_phantom else "patient"


def groups(content: ReportContent) -> str:
    """Whose images were tested, as far as it is known; what the bootstrap resamples."""
    return groups_of(
        content.evaluation,
        content.images_without_patient,
        known=content.known_patients,
        patient=patient_noun(content),
        image=image_noun(content),
    )


def groups_of(
    evaluation: Evaluation,
    unknown: int,
    *,
    known: int | None = None,
    patient: str = "patient",
    image: str = "image",
) -> str:
    """Whose images an evaluation is of, in words.

    Args:
        evaluation: of the images.
        unknown: how many of them have no known patient.
        known: patients of the others; a split that groups near copies has fewer groups
            than these and the images of unknown ones. ``None``: one group each.
        patient: noun.
        image: noun of what is tested, image or phantom.
    """
    joined = known is not None and known + unknown != evaluation.groups
    if unknown == 0:
        if known is not None and joined:
            return f"{count(known, patient)} ({_apart(evaluation)})"
        return count(evaluation.groups, patient)
    if unknown >= evaluation.images:
        own = f"{count(unknown, image)} ({_apart(evaluation)})"
        return f"{own if joined else count(evaluation.groups, image)}, no patient being known"
    several = "a patient, an image of an unknown one, or several joined by name or near copies"
    plain = "a patient, or an image of an unknown one"
    return f"{count(evaluation.groups, 'group')} ({several if joined else plain})"


def _apart(evaluation: Evaluation) -> str:
    """What the bootstrap draws where names or near copies join patients and images."""
    return f"{count(evaluation.groups, 'group')}, joined by name or near copy"


def units_of(
    evaluation: Evaluation, unknown: int, *, known: int | None = None, patient: str = "patient"
) -> str:
    """Whose scans or patients an evaluation is of: as :func:`groups_of`, which counts images."""
    if unknown:
        return count(evaluation.groups, "group")
    return groups_of(evaluation, 0, known=known, patient=patient)


def units(content: ReportContent, evaluation: Evaluation) -> str:
    """Whose scans or patients one level of a report is of."""
    return units_of(
        evaluation,
        content.images_without_patient,
        known=content.known_patients,
        patient=patient_noun(content),
    )


def classified_correctly(evaluation: Evaluation) -> int:
    """Images on the diagonal of the confusion matrix."""
    return sum(row[index] for index, row in enumerate(evaluation.confusion))


def tested_on(content: ReportContent) -> str:
    """Whose images were tested: "from 314 patients that the model was not trained on"."""
    evaluation, cross = content.evaluation, content.cross_validation
    unknown = content.images_without_patient
    whose = f"from {groups(content)} " if unknown == 0 else ""
    notes = [] if cross is None else [f"{len(cross.folds)}-fold cross-validation"]
    if unknown >= evaluation.images > 0:
        notes.append(f"the {patient_noun(content)}s are not known")
    elif unknown:
        notes.append(f"the {patient_noun(content)} is not known for {unknown:,} of them")
    return f"{whose}that the model was not trained on" + f" ({'; '.join(notes)})" * bool(notes)


@dataclass(frozen=True)
class Verdict:
    """How the model compares with the image-blind baselines."""

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
    "good": "Better than the image-blind baselines",
    "caution": "May have learned the hospital",
    "bad": "No better than an image-blind baseline",
    "unknown": "Not assessable",
}


_LEARNED = (
    "It may have learned to recognise the hospital or data set, not the disease: test it on a "
    "source that has every class, or on one it was not trained on."
)
_ONE_SOURCE = (
    "With one source it cannot be known whether the model recognises the hospital instead of the "
    "disease: add a source that has every class, or validate on an external data set."
)


def verdict(evaluation: Evaluation) -> Verdict:
    """Compare the model's accuracy with the two image-blind baselines, in words.

    Not assessable where there is nothing to compare with: no baselines, no CI, images of one
    class alone, or one source, for which both baselines are the same.
    """
    trivial, model = evaluation.trivial, evaluation.accuracy
    if trivial is None or model.value is None:
        return Verdict(
            "unknown",
            "The accuracy was not compared with image-blind baselines.",
            "Without that comparison it is not known whether the model learned more than the "
            "source of an image.",
        )
    if sum(1 for figures in evaluation.by_class if figures.support) < 2:
        return Verdict(
            "unknown",
            "All tested images are of one class: an image-blind baseline is correct for all "
            "of them or for none, so a comparison with it is not informative.",
        )
    common, source = trivial.most_frequent_class, trivial.most_frequent_class_of_source
    if common.value is None or _no_interval(model, common, source):
        return Verdict("unknown", "There is no confidence interval to compare by.")
    if not _above(model, common):
        return Verdict(
            "bad",
            "The model is not clearly better than always predicting the most frequent class "
            f"({number(common.value, 'percent')}).",
            "It has learned nothing useful, or the test set is too small to show it.",
        )
    if not trivial.source_assessable:
        return Verdict(
            "unknown",
            f"The model is {(model.value - common.value) * 100:.1f} points above always "
            f"predicting the most frequent class ({number(common.value, 'percent')}), and their "
            "CIs do not overlap. The baseline that knows the source is not assessable: the tested "
            "images are of one source.",
            _ONE_SOURCE,
            named="Better than the most frequent class; the source is not assessable",
        )
    return _against_source(model, source, common.value)


def _no_interval(*figures: Figure) -> bool:
    return any(
        figure.value is not None and (figure.low is None or figure.high is None)
        for figure in figures
    )


def _against_source(model: Figure, source: Figure, common: float) -> Verdict:
    if source.value is None or model.value is None:
        return Verdict("unknown", "The baseline that only knows the source has no accuracy here.")
    known = number(source.value, "percent")
    if model.value <= source.value:
        return Verdict(
            "bad",
            f"A baseline that only knows the source of an image does as well or better ({known}).",
            _LEARNED,
        )
    if not _above(model, source):
        return Verdict(
            "caution",
            f"The model's CI overlaps that of a baseline that only knows the source of an image "
            f"({known}).",
            _LEARNED,
        )
    points = f"{(model.value - source.value) * 100:.1f} percentage points above a baseline that "
    points += f"only knows the source of an image ({known})"
    if model.value - source.value < limits.NEAR_SOURCE_RULE:
        return Verdict("caution", f"The model is only {points}.", _LEARNED)
    lifted = ""
    if source.value - common > limits.TELLING_SOURCES:
        lifted = (
            " The source alone predicts much here: knowing it raises the baseline from "
            f"{number(common, 'percent')} to {known}."
        )
    return Verdict(
        "good",
        f"The model is {points}, and their CIs do not overlap.",
        "This suggests that it uses the image, but does not prove that it sees disease: age, "
        f"view, burned-in text and the device can also distinguish classes.{lifted}",
    )


def _above(model: Figure, rule: Figure) -> bool:
    """Whether the CIs do not overlap, the model's above; without both nothing is clear."""
    return model.low is not None and rule.high is not None and model.low > rule.high


def warnings(content: ReportContent) -> tuple[str, ...]:
    """Plain sentences on what weakens the result: the content's own, then the page's."""
    texts = [*content.warnings, *small_classes(content.evaluation)]
    for source in content.sources:
        read = source.images - source.frames
        if read + source.rejects != source.files_seen:
            texts.append(
                f"Source {source.name}: {count(source.files_seen, 'file')} seen, but "
                f"{count(read, 'file')} with images and {count(source.rejects, 'reject')}: "
                "they do not add up."
            )
    return tuple(dict.fromkeys(texts))


def small_classes(evaluation: Evaluation) -> list[str]:
    """A sentence for each class with too few tested images for more than coarse metrics."""
    named = [
        (f"\N{LEFT DOUBLE QUOTATION MARK}{row.name}\N{RIGHT DOUBLE QUOTATION MARK}", row.support)
        for row in evaluation.by_class
    ]
    return [
        f"Class {name} has no tested image: its sensitivity is not assessable."
        for name, support in named
        if not support
    ] + [
        f"Class {name} has {count(support, 'tested image')}, fewer than "
        f"{limits.SMALL_CLASS_IMAGES}: one image more or less moves its metrics."
        for name, support in named
        if 0 < support < limits.SMALL_CLASS_IMAGES
    ]
