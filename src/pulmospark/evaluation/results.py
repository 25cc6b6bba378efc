"""Results of evaluations: plain, frozen values for JSON and the report."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from pulmospark.core import limits
from pulmospark.core.records import Record

Method = Literal["wilson", "bootstrap", "basic", "bound", "mover", "none"]
Finding = Literal["lower", "unclear", "not lower", "not assessable"]
"""external compared with internal sensitivity: ``lower`` if the CI of the difference is below
0; ``not lower`` if the CI excludes a drop larger than ``limits.EXTERNAL_FALL_MARGIN``"""


class Result(Record):
    """Base of all results: frozen, JSON both ways."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(Result):
    """A metric and its CI.

    ``value`` is ``None`` where undefined (the PPV of a class never predicted, say); ``low`` and
    ``high`` are ``None`` where the CI is undefined. Plain proportions have ``numerator`` and
    ``denominator``. ``method`` is ``wilson`` (Wilson's score
    interval; on ``effective`` images where that is given), ``bootstrap`` (percentiles), ``basic``
    (the bootstrap's basic interval), ``mover`` (of the difference of two proportions, from
    their bounds: Newcombe 1998, method 10), or ``bound`` where all bootstrap replicates were
    equal and a rule that ``note`` names gave the interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: Method = "none"
    numerator: int | None = None
    denominator: int | None = None
    effective: float | None = None
    """effective sample size: the number of independent images equivalent to the denominator;
    ``None`` with one image per patient"""
    groups: int | None = None
    """patients in the denominator; where ``effective`` is given, the CI uses
    Student's quantile of ``groups`` - 1 degrees of freedom (one patient: the normal quantile)"""
    note: str | None = None
    """why there is no CI, or which rule gave it"""

    def text(self, form: str = ".3f") -> str:
        """ "0.712 (0.650 to 0.773)", each number in a format; without an interval the value."""
        if self.value is None:
            return "not defined"
        if self.low is None or self.high is None:
            return f"{self.value:{form}}"
        return f"{self.value:{form}} ({self.low:{form}} to {self.high:{form}})"


class Measured(Result):
    """Base of results that hold metrics.

    Metrics of `pulmospark.evaluation.registry` without a field of their own are further fields of
    the JSON object: read them with ``metric.of(result)``. Other unknown fields are an error.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Figure] = Field(init=False)


class Curve(Result):
    """Points of a curve, in the order they are drawn; at most a few hundred."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    threshold: tuple[float, ...] = ()


class ReliabilityBin(Result):
    """One bin of a reliability diagram of the predicted class's probability."""

    low: float
    high: float
    count: int
    confidence: float | None
    """mean probability in the bin"""
    accuracy: float | None
    """accuracy in the bin"""


class OperatingPoint(Result):
    """A threshold on one class's probability, chosen outside the test set."""

    positive_class: str
    threshold: float
    sensitivity_target: float
    chosen_on: int
    """images it was chosen on, each counted once"""
    reached: bool
    """whether the target was reached"""
    positives: int | None = None
    """images of the class among them; ``None``: an older version did not count them"""
    positive_groups: int | None = None
    """patients, or groups, of these images"""
    expected_low: float | None = None
    """lower bound of the sensitivity expected on new patients"""
    expected_high: float | None = None
    """its upper bound"""

    @property
    def is_coarse(self) -> bool:
        """Whether it is based on fewer positives than ``limits.OPERATING_POSITIVES_MIN``."""
        return self.positives is not None and self.positives < limits.OPERATING_POSITIVES_MIN


class OperatingFigures(Measured):
    """Performance of an operating point on images it was not chosen on."""

    point: OperatingPoint
    sensitivity: Figure
    specificity: Figure
    ppv: Figure
    npv: Figure
    thresholds: tuple[float, ...] = ()
    """of each fold, where folds are pooled: the point's threshold is then their mean"""


class ClassFigures(Measured):
    """One class against the rest."""

    name: str
    support: int
    sensitivity: Figure
    specificity: Figure
    ppv: Figure
    npv: Figure
    f1: Figure
    mcc: Figure
    auroc: Figure
    auprc: Figure
    roc: Curve
    """x: 1 - specificity, y: sensitivity"""
    precision_recall: Curve
    """x: sensitivity (recall), y: PPV (precision)"""


class TrivialRules(Result):
    """Accuracy of two image-blind baselines, fitted on the training set.

    A model no better than the second may have learned the hospital, not the disease.
    """

    most_frequent_class: Figure
    most_frequent_class_of_source: Figure
    sources: int | None = None
    """sources of the test images that also occur in training; below two, the second baseline
    equals the first. ``None``: an older version did not count them"""

    @property
    def source_assessable(self) -> bool:
        """Whether the second baseline differs from the first: at least two sources."""
        return self.sources is None or self.sources >= 2


class Evaluation(Measured):
    """All metrics of one set of predictions."""

    classes: tuple[str, ...]
    images: int
    groups: int
    """patients, or images where no patient is known: what the bootstrap resamples"""
    confidence: float
    replicates: int
    confusion: tuple[tuple[int, ...], ...]
    """row: the truth, column: the prediction"""
    accuracy: Figure
    balanced_accuracy: Figure
    log_loss: Figure
    brier: Figure
    """multi-class: mean over images of the summed squared differences, 0 to 2"""
    calibration_error: Figure
    """expected calibration error of the predicted class's probability, equal-width bins"""
    macro_auroc: Figure
    by_class: tuple[ClassFigures, ...]
    reliability: tuple[ReliabilityBin, ...]
    operating: OperatingFigures | None = None
    trivial: TrivialRules | None = None


class FoldSummary(Result):
    """One metric over the folds of a cross-validation."""

    name: str
    """name of the field of `Evaluation` or `ClassFigures`"""
    class_name: str | None = None
    """class of a per-class metric"""
    mean: float | None
    spread: float | None
    """standard deviation between folds, n - 1"""
    values: tuple[float | None, ...]


class CrossValidation(Result):
    """Metrics of k folds: each fold, mean and spread, and all predictions pooled."""

    folds: tuple[Evaluation, ...]
    summary: tuple[FoldSummary, ...]
    pooled: Evaluation


class ClassDifference(Result):
    """Internal and external sensitivity of a class."""

    name: str
    inside: Figure
    outside: Figure
    change: Figure
    """external minus internal; without a value where one is undefined"""
    finding: Finding


class PairedDifference(Result):
    """How the accuracies of two models differ on the same images."""

    difference: Figure
    """first minus second"""
    p_value: float
    """two-sided, of a permutation test over patients"""
    only_first: int
    """images that only the first classifies correctly"""
    only_second: int
    images: int
    groups: int
    """patients, or images where no patient is known"""
