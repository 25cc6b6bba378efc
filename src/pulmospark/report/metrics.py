"""The metrics that pages and files show: their names, scales, and why one may be undefined."""

from __future__ import annotations

from pulmospark.report.numbers import Scale

CLASS_METRICS: tuple[tuple[str, str, Scale, str], ...] = (
    ("sensitivity", "Sensitivity", "percent", "no tested image is of this class"),
    ("specificity", "Specificity", "percent", "every tested image is of this class"),
    ("ppv", "PPV", "percent", "no tested image was predicted to be of this class"),
    ("npv", "NPV", "percent", "every tested image was predicted to be of this class"),
    ("f1", "F1", "number", "the class is neither among the labels nor the predictions"),
    ("mcc", "MCC", "number", "all labels, or all predictions, are on one side of the class"),
    ("auroc", "AUROC", "number", "needs images of the class and images of others"),
    ("auprc", "AUPRC", "number", "no tested image is of this class"),
)
"""field of ``ClassFigures``, its heading, its scale, and why it may be undefined"""
_NONE_TESTED = "no image was tested"
OVERALL_METRICS: tuple[tuple[str, str, Scale, str, str], ...] = (
    ("accuracy", "Accuracy", "percent", "share of correct classifications", _NONE_TESTED),
    (
        *("balanced_accuracy", "Balanced accuracy", "percent"),
        *("mean sensitivity of the classes", "a class has no tested image"),
    ),
    (
        *("macro_auroc", "Macro AUROC", "number", "mean AUROC of the classes; chance 0.5"),
        "a class has no tested image, or all have one class",
    ),
    (
        *("log_loss", "Log loss", "number"),
        *("cross-entropy of the probabilities; lower is better", _NONE_TESTED),
    ),
    (
        *("brier", "Brier score", "number"),
        *("squared error of the probabilities, 0 to 2; lower is better", _NONE_TESTED),
    ),
    (
        *("calibration_error", "Calibration error", "number"),
        *("mean gap between probability and accuracy; lower is better", _NONE_TESTED),
    ),
)
"""field of ``Evaluation``, its heading, its scale, a gloss, and why it may be undefined"""
METRIC_NAMES = {
    **{name: heading for name, heading, *_ in OVERALL_METRICS},
    **{name: heading for name, heading, *_ in CLASS_METRICS},
    "most_frequent_class": "Baseline: most frequent class",
    "most_frequent_class_of_source": "Baseline: most frequent class of each source",
}
"""field -> heading"""
