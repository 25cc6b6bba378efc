"""Pairwise comparison of arms: tests on predictions of the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.config.experiment import Experiment
from pulmospark.core.errors import InputError
from pulmospark.evaluation.paired import holm, paired_difference
from pulmospark.report.comparison_content import ModelPair

_OF_IMAGES = ["uri", "group_id", "label"]
"""columns that describe the image and do not depend on the arm"""
_COLUMNS = [*_OF_IMAGES, "probability"]


def pairs_of(
    experiment: Experiment, classes: Sequence[str], predictions: Mapping[str, Path]
) -> tuple[ModelPair, ...]:
    """Compare each pair of arms, with patients as the unit.

    Args:
        experiment: whose replicates, confidence and seed are used.
        classes: names in the order of the probabilities.
        predictions: arm -> folder of its predictions.

    Raises:
        InputError: two arms were not tested on the same images.
    """
    tables = {
        name: pq.read_table(folder, columns=_COLUMNS).sort_by("uri")
        for name, folder in predictions.items()
    }
    _check_same_images(tables, predictions)
    rows = next(iter(tables.values()))
    index = {name: number for number, name in enumerate(classes)}
    labels = np.asarray([index[name] for name in rows["label"].to_pylist()], dtype=np.int64)
    groups = np.asarray(rows["group_id"].to_pylist())
    probabilities = {
        name: np.asarray(table["probability"].to_pylist(), dtype=np.float64)
        for name, table in tables.items()
    }
    names = list(combinations(tables, 2))
    compared = [
        paired_difference(
            labels,
            probabilities[first],
            probabilities[second],
            groups,
            classes,
            replicates=experiment.evaluate.replicates,
            confidence=experiment.evaluate.confidence,
            seed=experiment.seed,
        )
        for first, second in names
    ]
    adjusted = holm([difference.p_value for difference in compared])
    return tuple(
        ModelPair(first=first, second=second, compared=difference, adjusted_p=p)
        for (first, second), difference, p in zip(names, compared, adjusted, strict=True)
    )


def _check_same_images(tables: Mapping[str, pa.Table], predictions: Mapping[str, Path]) -> None:
    """Refuse predictions of different images: rows are paired by their order."""
    (first, rows), *others = tables.items()
    for name, table in others:
        if not table.select(_OF_IMAGES).equals(rows.select(_OF_IMAGES)):
            raise InputError(
                f"{predictions[name]}: holds predictions for other images than {first}: remove "
                f"{predictions[name].parent.parent} and run compare again"
            )
