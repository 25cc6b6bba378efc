"""Every metric, described once.

Evaluation, cross-validation, report, ``metrics.csv``, LaTeX table, MLflow, comparison, external
validation and the reference page read `METRICS`. A new metric is one entry in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation import metrics
from pulmospark.evaluation.results import Figure

Scope = Literal["overall", "class"]
"""one value over all classes, or one for each class against the rest"""
Scale = Literal["percent", "number"]
"""how a value is written: ``91.3 %`` or ``0.947``"""
Interval = Literal["wilson", "percentile", "basic", "newcombe"]
"""CI method: Wilson's; of the bootstrap the percentiles or the basic interval; ``newcombe``: the
percentiles, or Newcombe's bounds of an AUROC where all replicates are equal"""
Place = Literal["terminal", "latex", "comparison", "external"]
"""where only the main metrics are shown"""

NOT_COMPUTED = "not computed by the version that evaluated this run: evaluate it again"


@dataclass(frozen=True)
class Totals:
    """What metrics are computed from, for b sets of images at once (bootstrap replicates)."""

    confusion: Floats
    """(k, k, b) images by true class (row) and predicted class (column)"""
    present: Mask
    """(k,) classes that occur among all images"""
    image_sums: Mapping[str, Floats]
    """metric -> (b,) sum of its `Metric.per_image` values"""
    bins: Floats
    """(3, bins, b) bins of the predicted class's probability: images, summed probability, and
    correctly classified images"""
    auroc: Floats
    """(k, b) area under each class's ROC curve"""
    auprc: Floats
    """(k, b) average precision of each class"""

    @property
    def images(self) -> Floats:
        """(b,) number of images."""
        return np.asarray(self.confusion.sum(axis=(0, 1)))

    def mean_per_image(self, name: str) -> Floats:
        """(b,) mean of a metric's `Metric.per_image` values; nan without images."""
        return metrics.ratio(self.image_sums[name], self.images)


@dataclass(frozen=True)
class Metric:
    """One metric: what it is called, how it is computed, and where it is shown.

    Exactly one of `proportion` and `compute` is set.
    """

    name: str
    """in JSON, CSV, MLflow and Python"""
    label: str
    """in tables"""
    scope: Scope
    definition: str
    """formula or source, for the reference page"""
    undefined: str
    """when it has no value, as the footnote says it"""
    interval: Interval
    better: Literal["higher", "lower"]
    scale: Scale = "number"
    about: str = ""
    """a few words below the label; for metrics over all classes"""
    shown_in: frozenset[Place] = frozenset()
    """besides the full tables, which have every metric"""
    proportion: Callable[[NDArray[Any], NDArray[Any]], tuple[Mask, Mask | None]] | None = None
    """(n,) truth and (n,) decision -> numerator and denominator, (n,) each (``None``: all
    images). Of a class, truth and decision are masks; over all classes, class numbers."""
    compute: Callable[[Totals], Floats] | None = None
    """-> (b,), or (k, b) for a metric of each class; nan where undefined"""
    per_image: Callable[[Ints, Floats], Floats] | None = None
    """(n,) labels and (n, k) probabilities -> (n,) values, summed for `Totals.image_sums`"""
    mean_of: str | None = None
    """the metric of each class that it is the mean of: gives the bounds where all replicates are
    equal"""

    @property
    def words(self) -> str:
        """The label within a sentence: ``macro AUROC``, ``PPV``."""
        return self.label if self.label[:2].isupper() else self.label[:1].lower() + self.label[1:]

    def of(self, result: object) -> Figure:
        """The metric in an ``Evaluation``, ``ClassFigures`` or ``OperatingFigures``.

        A result of an earlier version may lack it: then without a value, and with a note.
        """
        figure = getattr(result, self.name, None)
        return figure if isinstance(figure, Figure) else Figure(value=None, note=NOT_COMPUTED)


def overall(place: Place | None = None) -> tuple[Metric, ...]:
    """Metrics over all classes, in the order shown; ``place``: only those shown there."""
    return _selected("overall", place)


def of_class(place: Place | None = None) -> tuple[Metric, ...]:
    """Metrics of each class, in the order shown; ``place``: only those shown there."""
    return _selected("class", place)


def of_decisions() -> tuple[Metric, ...]:
    """Metrics of a class that follow from decisions alone: those of an operating point."""
    return tuple(metric for metric in of_class() if metric.proportion is not None)


def label_of(name: str) -> str:
    """What tables call a metric or an image-blind baseline; an unknown name as words."""
    labels = {metric.name: metric.label for metric in METRICS}
    return (labels | BASELINES).get(name, name.replace("_", " ").capitalize())


def _selected(scope: Scope, place: Place | None) -> tuple[Metric, ...]:
    return tuple(
        metric
        for metric in METRICS
        if metric.scope == scope and (place is None or place in metric.shown_in)
    )


BASELINES: dict[str, str] = {
    "most_frequent_class": "Baseline: most frequent class",
    "most_frequent_class_of_source": "Baseline: most frequent class of each source",
}
"""the image-blind baselines, fields of ``TrivialRules``, and what tables call them"""

_NONE_TESTED = "no image was tested"

METRICS: tuple[Metric, ...] = (
    Metric(
        name="accuracy",
        label="Accuracy",
        scope="overall",
        definition="images classified correctly / images",
        about="share of correct classifications",
        undefined=_NONE_TESTED,
        interval="wilson",
        better="higher",
        scale="percent",
        shown_in=frozenset({"terminal", "latex", "comparison", "external"}),
        proportion=lambda labels, predicted: (labels == predicted, None),
    ),
    Metric(
        name="balanced_accuracy",
        label="Balanced accuracy",
        scope="overall",
        definition="mean sensitivity of the classes present",
        about="mean sensitivity of the classes",
        undefined="a class has no tested image",
        interval="percentile",
        better="higher",
        scale="percent",
        shown_in=frozenset({"terminal", "latex", "external"}),
        compute=lambda totals: metrics.balanced_accuracy(totals.confusion, totals.present),
        mean_of="sensitivity",
    ),
    Metric(
        name="macro_auroc",
        label="Macro AUROC",
        scope="overall",
        definition="mean of the classes' AUROC; not defined if one is not",
        about="mean AUROC of the classes; chance 0.5",
        undefined="a class has no tested image, or all have one class",
        interval="percentile",
        better="higher",
        shown_in=frozenset({"terminal", "latex", "comparison", "external"}),
        compute=lambda totals: totals.auroc.mean(axis=0),
        mean_of="auroc",
    ),
    Metric(
        name="log_loss",
        label="Log loss",
        scope="overall",
        definition="mean of -ln of the true class's probability, clipped to [eps, 1 - eps] of "
        "float64",
        about="cross-entropy of the probabilities",
        undefined=_NONE_TESTED,
        interval="percentile",
        better="lower",
        shown_in=frozenset({"external"}),
        per_image=metrics.log_loss_of_images,
        compute=lambda totals: totals.mean_per_image("log_loss"),
    ),
    Metric(
        name="brier",
        label="Brier score",
        scope="overall",
        definition="mean over images of the squared errors summed over all classes, 0 to 2",
        about="squared error of the probabilities, 0 to 2",
        undefined=_NONE_TESTED,
        interval="percentile",
        better="lower",
        per_image=metrics.brier_of_images,
        compute=lambda totals: totals.mean_per_image("brier"),
    ),
    Metric(
        name="calibration_error",
        label="Calibration error",
        scope="overall",
        definition="expected calibration error of the predicted class's probability: over "
        "equal-width bins, the sum of the proportion of images times the difference between mean "
        "probability and accuracy (Naeini et al. 2015, Guo et al. 2017)",
        about="mean gap between probability and accuracy",
        undefined=_NONE_TESTED,
        interval="basic",
        better="lower",
        shown_in=frozenset({"external"}),
        compute=lambda totals: metrics.ratio(
            np.abs(totals.bins[1] - totals.bins[2]).sum(axis=0), totals.images
        ),
    ),
    Metric(
        name="sensitivity",
        label="Sensitivity",
        scope="class",
        definition="TP / (TP + FN), also called recall",
        undefined="no tested image is of this class",
        interval="wilson",
        better="higher",
        scale="percent",
        shown_in=frozenset({"terminal", "latex", "external"}),
        proportion=lambda positive, called: (called, positive),
    ),
    Metric(
        name="specificity",
        label="Specificity",
        scope="class",
        definition="TN / (TN + FP)",
        undefined="every tested image is of this class",
        interval="wilson",
        better="higher",
        scale="percent",
        shown_in=frozenset({"terminal", "latex", "external"}),
        proportion=lambda positive, called: (~called, ~positive),
    ),
    Metric(
        name="ppv",
        label="PPV",
        scope="class",
        definition="TP / (TP + FP), also called precision",
        undefined="no tested image was predicted to be of this class",
        interval="wilson",
        better="higher",
        scale="percent",
        shown_in=frozenset({"latex"}),
        proportion=lambda positive, called: (positive, called),
    ),
    Metric(
        name="npv",
        label="NPV",
        scope="class",
        definition="TN / (TN + FN)",
        undefined="every tested image was predicted to be of this class",
        interval="wilson",
        better="higher",
        scale="percent",
        proportion=lambda positive, called: (~positive, ~called),
    ),
    Metric(
        name="f1",
        label="F1",
        scope="class",
        definition="2 TP / (2 TP + FP + FN)",
        undefined="the class is neither among the labels nor the predictions",
        interval="percentile",
        better="higher",
        compute=lambda totals: metrics.f1(totals.confusion),
    ),
    Metric(
        name="mcc",
        label="MCC",
        scope="class",
        definition="Matthews correlation of the class against the rest",
        undefined="all labels, or all predictions, are on one side of the class",
        interval="percentile",
        better="higher",
        compute=lambda totals: metrics.mcc(totals.confusion),
    ),
    Metric(
        name="auroc",
        label="AUROC",
        scope="class",
        definition="area under the ROC curve, ties counting half",
        undefined="needs images of the class and images of others",
        interval="newcombe",
        better="higher",
        shown_in=frozenset({"latex", "external"}),
        compute=lambda totals: totals.auroc,
    ),
    Metric(
        name="auprc",
        label="AUPRC",
        scope="class",
        definition="average precision, without interpolation",
        undefined="no tested image is of this class",
        interval="percentile",
        better="higher",
        compute=lambda totals: totals.auprc,
    ),
)
"""every metric, in the order shown"""
