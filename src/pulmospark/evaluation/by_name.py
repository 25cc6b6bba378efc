"""Every metric of an evaluation by its name: the same names in Python, MLflow and TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

from pulmospark.evaluation.long_form import MetricEntry, metric_entries
from pulmospark.evaluation.results import Evaluation, Figure


def metrics_by_name(
    evaluation: Evaluation, class_names: Sequence[str] | None = None
) -> dict[str, Figure]:
    """``accuracy``, ``COVID-19/sensitivity``, ``operating_point/ppv`` and so on, with their CIs.

    The image-blind baselines come first after the overall metrics, as ``trivial/...``.

    Args:
        evaluation: the evaluation.
        class_names: what the classes are called in the names; ``None``: their own names.
    """
    names = [of_class.name for of_class in evaluation.by_class]
    called = dict(zip(names, class_names or names, strict=True))
    entries = sorted(metric_entries(evaluation), key=_place)
    return {
        f"{_start(entry, called)}{entry.name}": entry.figure
        for entry in entries
        if (entry.subject, entry.name) != ("operating_point", "threshold")
    }


def _place(entry: MetricEntry) -> int:
    if entry.subject == "model":
        return 0 if entry.class_name is None else 3
    return 1 if entry.subject == "baseline" else 2


def _start(entry: MetricEntry, called: dict[str, str]) -> str:
    if entry.subject == "model":
        return "" if entry.class_name is None else f"{called[entry.class_name]}/"
    return "trivial/" if entry.subject == "baseline" else "operating_point/"
