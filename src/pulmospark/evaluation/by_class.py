"""One model on two sets of images, class by class: only what both sets hold is compared.

A balanced accuracy, or an accuracy, of two sets that hold different classes is of different
things. The sensitivity of a class is of its own images alone, whatever else a set holds.
"""

from __future__ import annotations

from pulmospark.core import limits
from pulmospark.evaluation.intervals import difference
from pulmospark.evaluation.results import ClassDifference, Evaluation, Figure, Finding

_NO_IMAGE = Figure(value=None, numerator=0, denominator=0, note="no image of this class")


def class_differences(inside: Evaluation, outside: Evaluation) -> tuple[ClassDifference, ...]:
    """Sensitivity of each class on both sets, and its difference, outside less inside.

    Classes are matched by name, in the order of ``inside``; one that only one set knows is not
    assessable.

    Args:
        inside: of the set that the model was developed on.
        outside: of a set from elsewhere, independent of it.
    """
    known = [{figures.name: figures for figures in one.by_class} for one in (inside, outside)]
    differences = []
    for name in dict.fromkeys((*known[0], *known[1])):
        pair = [one[name].sensitivity if name in one else _NO_IMAGE for one in known]
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
