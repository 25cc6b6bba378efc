"""Compare a model on two data sets class by class, on the classes that both contain.

Accuracies are not comparable between data sets with different classes. The sensitivity of a class
is: it depends on the images of that class only.
"""

from __future__ import annotations

from pulmospark.core import limits
from pulmospark.evaluation.intervals import difference
from pulmospark.evaluation.results import ClassDifference, Evaluation, Figure, Finding

_NO_IMAGE = Figure(value=None, numerator=0, denominator=0, note="no images of this class")


def class_differences(inside: Evaluation, outside: Evaluation) -> tuple[ClassDifference, ...]:
    """Sensitivity of each class on both sets, and the difference, external minus internal.

    Classes are matched by name, in the order of ``inside``; a class in only one set is not
    assessable.

    Args:
        inside: on the internal test set.
        outside: on an independent external set.
    """
    known = [{figures.name: figures for figures in side.by_class} for side in (inside, outside)]
    differences = []
    for name in dict.fromkeys((*known[0], *known[1])):
        pair = [side[name].sensitivity if name in side else _NO_IMAGE for side in known]
        change = difference(pair[1], pair[0])
        differences.append(
            ClassDifference(
                name=name,
                inside=pair[0],
                outside=pair[1],
                change=change,
                finding=_finding(change),
            )
        )
    return tuple(differences)


def _finding(change: Figure) -> Finding:
    if change.value is None or change.low is None or change.high is None:
        return "not assessable"
    if change.high < 0:
        return "lower"
    if change.low >= -limits.EXTERNAL_FALL_MARGIN:
        return "not lower"
    return "unclear"
