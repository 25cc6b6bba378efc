"""Every metric of an evaluation by its name: the same names in Python, MLflow and TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pulmospark.evaluation.results import Evaluation, Figure, Result


def metrics_by_name(
    evaluation: Evaluation, class_names: Sequence[str] | None = None
) -> dict[str, Figure]:
    """``accuracy``, ``COVID-19/sensitivity``, ``operating_point/ppv`` and so on, with their CIs.

    The image-blind baselines come first after the overall metrics, as ``trivial/...``.

    Args:
        evaluation: the evaluation.
        class_names: what the classes are called in the names; ``None``: their own names.
    """
    metrics = dict(_figures(evaluation))
    if evaluation.trivial is not None:
        metrics |= _figures(evaluation.trivial, "trivial/")
    if evaluation.operating is not None:
        metrics |= _figures(evaluation.operating, "operating_point/")
    names = [of_class.name for of_class in evaluation.by_class]
    for name, of_class in zip(class_names or names, evaluation.by_class, strict=True):
        metrics |= _figures(of_class, f"{name}/")
    return metrics


def _figures(result: Result, prefix: str = "") -> Iterator[tuple[str, Figure]]:
    for key in type(result).model_fields:
        value = getattr(result, key)
        if isinstance(value, Figure):
            yield prefix + key, value
