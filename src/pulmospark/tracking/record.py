"""The record of a run: plain values for any tracker."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulmospark.core import hashing
from pulmospark.evaluation.by_name import metrics_by_name
from pulmospark.evaluation.results import Evaluation, Figure
from pulmospark.training.results import TrainResult

_SERIES = (
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "images_per_s",
)
"""recorded fields of an epoch"""
_ODD = re.compile(r"[^\w.\- ]")

Series = tuple[tuple[int, float], ...]
"""(step, value), from 1; a step is an epoch, or an iteration of a logistic regression"""


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        name: of the run.
        settings: name with dots (``train.model``) -> value as text.
        tags: further facts.
        figures: name -> value.
        seconds: name -> duration.
        series: name (``fold-0/loss``) -> values by step.
        documents: file name -> text.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)

    @property
    def record_id(self) -> str:
        """Content id of settings, tags and metrics: identical for an identical run."""
        return hashing.value_id(
            [self.name, dict(self.settings), dict(self.tags), dict(self.figures)]
        )


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Flatten nested values to dotted names and text; other values as JSON."""
    texts: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            texts |= flat(value, f"{before}{plain_name(key)}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            texts[before + plain_name(key)] = text
    return texts


def figures_of(evaluation: Evaluation) -> dict[str, float]:
    """Every metric of an evaluation by name, with the bounds of its CI.

    ``accuracy``, ``accuracy_low``, ``accuracy_high``; ``COVID-19/sensitivity``, and so on.
    Undefined metrics are omitted.
    """
    names: list[str] = []
    for class_metrics in evaluation.by_class:
        name = plain_name(class_metrics.name)
        while name in names:  # two classes that differ in replaced characters only
            name += "_"
        names.append(name)
    values: dict[str, float] = {}
    for name, figure in metrics_by_name(evaluation, names).items():
        values |= _with_bounds(name, figure)
    return values | {"images": float(evaluation.images), "patients": float(evaluation.groups)}


def series_of(trained: TrainResult) -> dict[str, Series]:
    """Training curves of each model: epochs of a CNN, iterations of a regression."""
    series: dict[str, Series] = {}
    for model in trained.models:
        for key in _SERIES:
            if course := course_of(model.history, key):
                series[f"{model.name}/{key}"] = course
        if model.objective:
            series[f"{model.name}/objective"] = tuple(enumerate(model.objective, start=1))
    return series


def course_of(history: tuple[Mapping[str, Any], ...], key: str) -> Series:
    """One field over the epochs, omitting those without it."""
    return tuple(
        (int(epoch["epoch"]), float(epoch[key])) for epoch in history if epoch.get(key) is not None
    )


def plain_name(text: str) -> str:
    """A name for MLflow and TensorBoard: letters, digits, ``_``, ``-``, ``.`` and spaces."""
    return _ODD.sub("_", text).strip(" .") or "_"


def _with_bounds(name: str, figure: Figure) -> Iterator[tuple[str, float]]:
    if figure.value is None:
        return
    yield name, figure.value
    if figure.low is not None and figure.high is not None:
        yield f"{name}_low", figure.low
        yield f"{name}_high", figure.high
