"""What is told of a run: plain values, which any tracker can take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulmospark.core import content
from pulmospark.evaluation.by_name import metrics_by_name
from pulmospark.evaluation.results import Evaluation, Figure
from pulmospark.training.records import TrainResult

_TOLD = (
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "films_per_s",
)
"""fields of an epoch that are told"""
_ODD = re.compile(r"[^\w.\- ]")

Series = tuple[tuple[int, float], ...]
"""(step, value), from 1; a step is an epoch, or an iteration of a logistic regression"""


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        name: of the run.
        settings: name with dots (``train.model``) -> value as text.
        tags: what is known of it beside the settings.
        figures: name -> value.
        seconds: what took how long; name -> value.
        series: name (``fold-0/loss``) -> its course.
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
        """Content id of settings, tags and figures: told again, or done again, it is the same."""
        return content.value_id(
            [self.name, dict(self.settings), dict(self.tags), dict(self.figures)]
        )


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested values as names with dots and text; what is no text, as JSON."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{plain_name(key)}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found[before + plain_name(key)] = text
    return found


def figures_of(told: Evaluation) -> dict[str, float]:
    """Every figure of an evaluation by name, with the ends of its interval.

    ``accuracy``, ``accuracy_low``, ``accuracy_high``; ``COVID-19/sensitivity``, and so on. What
    is not defined is left out.
    """
    names: list[str] = []
    for one in told.by_class:
        name = plain_name(one.name)
        while name in names:  # two classes that differ in odd characters only
            name += "_"
        names.append(name)
    found: dict[str, float] = {}
    for name, figure in metrics_by_name(told, names).items():
        found |= _with_ends(name, figure)
    return found | {"films": float(told.films), "patients": float(told.groups)}


def series_of(trained: TrainResult) -> dict[str, Series]:
    """The course of each model's training: epochs of a CNN, iterations of a regression."""
    found: dict[str, Series] = {}
    for model in trained.models:
        for key in _TOLD:
            if course := course_of(model.history, key):
                found[f"{model.name}/{key}"] = course
        if model.objective:
            found[f"{model.name}/objective"] = tuple(enumerate(model.objective, start=1))
    return found


def course_of(history: tuple[Mapping[str, Any], ...], key: str) -> Series:
    """One field of the epochs; those that lack it are left out."""
    return tuple(
        (int(epoch["epoch"]), float(epoch[key])) for epoch in history if epoch.get(key) is not None
    )


def plain_name(text: str) -> str:
    """A name that MLflow and TensorBoard take: letters, digits, ``_``, ``-``, ``.`` and spaces."""
    return _ODD.sub("_", text).strip(" .") or "_"


def _with_ends(name: str, figure: Figure) -> Iterator[tuple[str, float]]:
    if figure.value is None:
        return
    yield name, figure.value
    if figure.low is not None and figure.high is not None:
        yield f"{name}_low", figure.low
        yield f"{name}_high", figure.high
