"""Settings of the evaluation: bootstrap, calibration, pooling and operating point."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pulmospark.config.base import Fraction, Settings


class EvaluateSettings(Settings):
    """Metrics and their CIs."""

    replicates: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """bootstrap replicates over patients"""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """of the CIs"""
    calibration_bins: Annotated[int, Field(ge=2, le=100)] = 15
    """equal-width bins of the reliability diagram and the calibration error"""
    positive_class: str | None = None
    """class of the operating point; ``None``: the first class whose name does not mean healthy
    (normal, no finding, non-..., healthy, negative, control)"""
    levels: tuple[Literal["scan", "patient"], ...] = ()
    """what is evaluated in addition to single images or slices: a CT scan by its slices, a patient
    by scans and images"""
    pooling: Literal["mean", "top_k", "noisy_or", "attention"] = "mean"
    """how probabilities of slices are pooled to a scan's, and those of scans to a patient's:
    their mean; the mean of the ``top_k`` largest of each class; noisy-or, for which one slice
    that shows a disease is enough; or a mean weighted by an attention over slices that is trained
    on the validation split, with patients pooled from scans by the mean"""
    top_k: Annotated[int, Field(ge=1, le=10_000)] = 5
    """slices of the pooling ``top_k``; all, if a scan has fewer"""
    negative_class: str | None = None
    """the class without a disease; the pooling ``noisy_or`` needs it"""
    sensitivity_target: Fraction = 0.95
    """the operating point is the highest threshold with at least this sensitivity on the images
    that it is chosen on: out-of-fold scores of the training split with the method ``features``,
    the validation split with ``network``"""
