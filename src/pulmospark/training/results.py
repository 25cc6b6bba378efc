"""Results of training: one record per model, and the overall result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from pulmospark.config.train import LogisticSettings, Solver
from pulmospark.core.records import Record
from pulmospark.evaluation.results import OperatingPoint

FINAL = "final"


class ModelRecord(Record):
    """One model of a training run: the final one, or a fold's."""

    model_config = ConfigDict(frozen=True)

    name: str
    """``final`` or ``fold-<k>``; also its name in the scores table"""
    fold: int | None
    images: int
    """images it was fitted on"""
    validation_images: int
    """images that temperature and operating point were chosen on, each counted once"""
    temperature: float
    operating_point: OperatingPoint
    """not ``reached`` if those images include none of the positive class"""
    calibrated_by: Literal["validation", "out-of-fold"] = "validation"
    """scores they were chosen on: of the validation set, or out-of-fold scores of the training
    set"""
    reg_param: float | None = None
    """regularisation of a logistic regression"""
    reg_param_losses: dict[float, float] = Field(default_factory=dict)
    """candidate strength -> mean log loss of the out-of-fold scores; empty: not tuned"""
    history: tuple[dict[str, Any], ...] = ()
    """epochs of a CNN"""
    objective: tuple[float, ...] = ()
    """regularised loss of each iteration of a logistic regression"""
    seconds: float
    """including the epochs of an earlier run"""


class TrainResult(Record):
    """Result of a training run."""

    model_config = ConfigDict(frozen=True)

    bundle: Path
    method: str
    solver: Solver | None = None
    """of the logistic regressions; ``None``: method ``network``, or fitted by MLlib in a version
    that had no other"""
    model: str
    parameters: int
    classes: tuple[str, ...]
    folds: int
    cohort_id: str
    models: tuple[ModelRecord, ...]
    feature_images: int = 0
    feature_seconds: float = 0.0
    weights: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    """limitations, such as an operating point based on few images"""


def model_name(fold: int | None) -> str:
    """Name of a fold's model, or of the final one."""
    return FINAL if fold is None else f"fold-{fold}"


def strengths(result: TrainResult, settings: LogisticSettings) -> str:
    """The ``regParam`` of each model of a training run on features, as text."""
    fitted = [model for model in result.models if model.reg_param is not None]
    if not fitted:  # of an older version
        return f"regParam {settings.reg_param:g}" if settings.reg_param is not None else "regParam"
    final = fitted[-1]
    if not final.reg_param_losses or settings.reg_param is not None:
        return f"regParam {final.reg_param:g}"
    folds = ", ".join(f"{model.reg_param:g}" for model in fitted[:-1])
    of_folds = f"; of the folds {folds}" if folds else ""
    return f"regParam {final.reg_param:g}, chosen by the log loss of out-of-fold scores{of_folds}"


def regression_method(result: TrainResult, settings: LogisticSettings) -> str:
    """How the logistic regressions of a training run on features were fitted, as text."""
    given = f"maxIter {settings.max_iter}, {strengths(result, settings)}"
    if result.solver == "driver":
        return (
            "multinomial logistic regression, with the objective of Spark MLlib's minimised by "
            f"L-BFGS on the driver ({given}, L2)"
        )
    return (
        "Spark MLlib's multinomial logistic regression "
        f"({given}, elasticNetParam {settings.elastic_net_param:g})"
    )
