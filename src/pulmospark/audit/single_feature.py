"""Shortcut checks: whether the label is predictable from one feature that is not the lungs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pulmospark.audit.predictability import FOLDS, guess_figure
from pulmospark.audit.results import (
    AuditResult,
    Distribution,
    NamedFigure,
    Shortcut,
    Verdict,
    not_assessable,
)
from pulmospark.audit.subject import PATIENTS_MIN, Subject

Feature = npt.NDArray[Any]
_BINS = 12
"""of a number's distribution"""
_VALUES_SHOWN = 7
"""names of a distribution; the rest are one bar"""
_OTHER = "all other"


@dataclass(frozen=True)
class Kind:
    """A feature other than the image content that may predict the label.

    Attributes:
        name: of the audit.
        words: its name in sentences.
        of: its value for each image: numbers (nan where missing) or names (``None``).
        remedy: what to do where it predicts the label.
        of_pixels: whether it is computed from pixels.
    """

    name: str
    words: str
    of: Callable[[Subject, Mapping[str, Feature]], Feature]
    remedy: str
    of_pixels: bool = False


def _bytes_per_pixel(subject: Subject) -> Feature:
    area = subject.numbers("height") * subject.numbers("width")
    return np.asarray(subject.numbers("size_bytes") / np.maximum(area, 1.0))


def _size(subject: Subject) -> Feature:
    sides = zip(subject.column("height"), subject.column("width"), strict=True)
    names = [None if None in pair else f"{pair[0]} x {pair[1]}" for pair in sides]
    return np.asarray(names, dtype=object)


_PREPARE = "convert all images to one size, format and border before ingest"
_SOURCES = (
    "add sources that hold every class, or balance them: `--set split.balance=source`; test on a "
    "held-out source"
)
KINDS: tuple[Kind, ...] = (
    Kind("source", "source", lambda s, _: s.column("source"), _SOURCES),
    Kind(
        "age",
        "age",
        lambda s, _: s.numbers("age"),
        "match the ages of the classes: `--set split.balance=age`",
    ),
    Kind("sex", "sex", lambda s, _: s.column("sex"), "balance sex across classes"),
    Kind(
        "view",
        "view",
        lambda s, _: s.column("view"),
        "keep one view (`split.views`), or add images of each view to every class",
    ),
    Kind("size", "image height and width", lambda s, _: _size(s), _PREPARE),
    Kind("format", "file format", lambda s, _: s.column("format"), _PREPARE),
    Kind("compression", "bytes per pixel", lambda s, _: _bytes_per_pixel(s), _PREPARE),
    Kind(
        "border",
        "grey level of the border",
        lambda _, looks: looks["border_mean"],
        _PREPARE,
        of_pixels=True,
    ),
    Kind(
        "brightness",
        "mean brightness",
        lambda _, looks: looks["mean"],
        "normalise grey levels, and augment brightness and contrast",
        of_pixels=True,
    ),
)


def audit(subject: Subject, looks: Mapping[str, Feature], kind: Kind) -> AuditResult:
    """Whether a small model predicts the label from one feature, without the image.

    Args:
        subject: what is audited.
        looks: "mean" and "border_mean" of each image, in the order of its rows.
        kind: the feature.
    """
    labels = subject.labels
    present = subject.common()
    taken = np.isin(labels, present)
    values = kind.of(subject, looks)
    title = f"Label predictable from {kind.words}"
    name = f"class_by_{kind.name}"
    missing = _missing(values)
    if present.size < 2:
        why = f"fewer than two classes have {PATIENTS_MIN} patients"
        return not_assessable(name, title, why)
    if _missing(values[taken]) == 1.0:
        return not_assessable(name, title, f"{kind.words} is not known of any image")
    if not _varies(values[taken]):
        return not_assessable(name, title, f"{kind.words} is the same for all images")
    own = np.searchsorted(present, labels[taken]).astype(np.int64)
    _, groups = np.unique(subject.groups[taken], return_inverse=True)
    figure = guess_figure(
        values[taken],
        own,
        groups.astype(np.int64),
        classes=int(present.size),
        seed=subject.seed,
        replicates=subject.settings.replicates,
        confidence=subject.confidence,
    )
    if figure.low is None:
        return not_assessable(name, title, f"the CI is not defined ({figure.note})")
    settings = subject.settings
    verdict: Verdict = "pass"
    if figure.low > settings.thing_warn:
        verdict = "fail" if figure.low > settings.thing_fail else "warn"
    known = f" It is known of {1 - missing:.0%} of the images." if missing else ""
    return AuditResult(
        name=name,
        title=title,
        verdict=verdict,
        sentence=f"A model that is given only the {kind.words} reaches an AUROC of "
        f"{figure.text()}; 0.5 is chance.{known}",
        figures=(NamedFigure(name="AUROC", figure=figure, scale="number"),),
        threshold=f"warns when the lower bound is above {settings.thing_warn:g}, fails "
        f"above {settings.thing_fail:g}; {FOLDS}-fold cross-validation by patient",
        why="an AUROC of 0.7 counts as acceptable discrimination (Hosmer and Lemeshow): a network "
        "that can infer this feature need not look at the lungs",
        remedy=kind.remedy if verdict in {"warn", "fail"} else "",
        shortcut=Shortcut(
            feature=kind.words,
            warn=settings.thing_warn,
            fail=settings.thing_fail,
            distribution=distribution(values[taken], own, [subject.classes[n] for n in present]),
        ),
    )


def distribution(
    values: Feature, labels: npt.NDArray[np.int64], classes: Sequence[str]
) -> Distribution:
    """Count the values of a feature in each class.

    Args:
        values: (n,) float64, nan where not known; or object, names and ``None``.
        labels: (n,) class, from 0.
        classes: their names.
    """
    named = values.dtype == object
    known = np.asarray([v is not None for v in values]) if named else ~np.isnan(values)
    edges: npt.NDArray[np.float64] = np.empty(0)
    names: list[str] = []
    if named:
        kept = Counter(map(str, values[known].tolist())).most_common(_VALUES_SHOWN)
        names = [name for name, _ in kept]
        place = {name: at for at, name in enumerate(names)}
        bins = np.asarray([place.get(str(v), len(names)) for v in values[known]], np.int64)
        if bins.size and bins.max() == len(names):
            names.append(_OTHER)
    else:
        low, high = np.quantile(values[known], (0.01, 0.99))
        edges = np.linspace(low, high, _BINS + 1) if high > low else np.array([low, low + 1.0])
        bins = np.clip(np.searchsorted(edges, values[known], "right") - 1, 0, edges.size - 2)
    columns = len(names) if named else edges.size - 1
    counts = np.zeros((len(classes), columns), np.int64)
    np.add.at(counts, (labels[known], bins), 1)
    unknown = np.bincount(labels[~known], minlength=len(classes))
    return Distribution(
        classes=tuple(classes),
        values=tuple(names),
        edges=tuple(edges.tolist()),
        counts=tuple(map(tuple, counts.tolist())),
        unknown=tuple(unknown.tolist()),
    )


def _missing(values: Feature) -> float:
    if values.dtype == object:
        return float(np.mean([value is None for value in values]))
    return float(np.isnan(values).mean())


def _varies(values: Feature) -> bool:
    """Whether a feature has at least two values; missing counts as one."""
    known = {str(value) for value in values.tolist() if value is not None and value == value}  # noqa: PLR0124 - nan
    return len(known) + bool(_missing(values)) > 1
