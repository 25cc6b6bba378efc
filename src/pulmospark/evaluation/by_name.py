"""Every metric of an evaluation by its name: the same names in Python, MLflow and TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pulmospark.evaluation import registry
from pulmospark.evaluation.registry import Metric
from pulmospark.evaluation.results import Evaluation, Figure, Measured


def metrics_by_name(
    evaluation: Evaluation, class_names: Sequence[str] | None = None
) -> dict[str, Figure]:
    """``accuracy``, ``COVID-19/sensitivity``, ``operating_point/ppv`` and so on, with their CIs.

    The image-blind baselines come first after the overall metrics, as ``trivial/...``.

    Args:
        evaluation: the evaluation.
        class_names: what the classes are called in the names; ``None``: their own names.
    """
    metrics = dict(_figures(evaluation, registry.overall()))
    if evaluation.trivial is not None:
        for name in registry.BASELINES:
            metrics[f"trivial/{name}"] = getattr(evaluation.trivial, name)
    if evaluation.operating is not None:
        metrics |= _figures(evaluation.operating, registry.of_decisions(), "operating_point/")
    names = [of_class.name for of_class in evaluation.by_class]
    for name, of_class in zip(class_names or names, evaluation.by_class, strict=True):
        metrics |= _figures(of_class, registry.of_class(), f"{name}/")
    return metrics


def _figures(
    result: Measured, metrics: Iterable[Metric], prefix: str = ""
) -> Iterator[tuple[str, Figure]]:
    for metric in metrics:
        yield prefix + metric.name, metric.of(result)
