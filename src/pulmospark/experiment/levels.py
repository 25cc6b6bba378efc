"""Pool images and slices to scans and patients for an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.core import schemas
from pulmospark.core.arrays import Floats
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part
from pulmospark.evaluation.attention import fit_attention
from pulmospark.evaluation.calibration import apply_temperature
from pulmospark.evaluation.pooling import pool, pooler
from pulmospark.training.results import ModelRecord

Level = Literal["scan", "patient"]

_CARRIED = ("source", "patient_id", "group_id", "fold", "label")


def pooled_units(
    rows: pa.Table,
    level: Level,
    classes: Sequence[str],
    settings: EvaluateSettings,
    *,
    attention: Floats | None = None,
) -> pa.Table:
    """Predictions of scans or patients: ``core.schemas.UNITS``, in the order of their names.

    An image that belongs to no scan is a scan by itself. A patient is pooled from scans, each of
    equal weight whatever its number of slices. Where no patient is known, a scan stands for one.
    Units are of one class: a patient with two classes is two units, which stay in one group; so
    do patients that a split groups.

    Args:
        rows: predictions of images and slices.
        level: what they are pooled to.
        classes: in the order of the probabilities.
        settings: ``pooling``, ``top_k`` and ``negative_class``.
        attention: (k,) weights of the pooling ``attention``, applied to slices alone.

    Raises:
        InputError: noisy-or without a negative class, or no row is of a scan.
    """
    if level == "scan" and rows["scan_id"].null_count == rows.num_rows:
        raise InputError(
            "evaluate.levels names 'scan', but none of the tested images belongs to a scan: "
            "remove it, or use the layout of a CT data set"
        )
    how, above = (
        pooler(
            settings.pooling,
            classes,
            count=settings.top_k,
            negative_class=settings.negative_class,
            weights=weights,
        )
        for weights in (attention, None)
    )
    scans = _pooled(rows, _scan_names(rows), how)
    if level == "scan":
        return _with_predictions(scans, level, classes)
    patients = _patient_names(scans, scans["unit"].to_pylist())
    return _with_predictions(_pooled(scans, patients, above), level, classes)


def fitted_attention(
    cohort: pa.Table, scores: Path, record: ModelRecord, classes: Sequence[str]
) -> Floats:
    """Attention weights, (k,), fitted on the validation split of one model alone.

    Args:
        cohort: included rows.
        scores: the scores table.
        record: of the model.
        classes: in the order of the logits.

    Raises:
        InputError: the validation split is empty.
    """
    rows = cohort.filter(pa.array(in_part(cohort, Part(Split.VALIDATION, record.fold))))
    logits: dict[str, dict[str, list[float]]] = {}
    # If the kept model was trained on the validation split, use its inner fit, which was not.
    names = (f"{record.name}-inner", record.name)
    for part in chunks.parts_of(scores):
        table = pq.read_table(part, filters=[("model", "in", names)])
        for row in table.select(["uri", "model", "logits"]).to_pylist():
            logits.setdefault(row["model"], {})[row["uri"]] = row["logits"]
    scored = next((logits[name] for name in names if name in logits), {})
    rows = rows.filter(pa.array([uri in scored for uri in rows["uri"].to_pylist()], pa.bool_()))
    values = np.asarray([scored[uri] for uri in rows["uri"].to_pylist()], dtype=np.float64)
    names_of, labels = _scan_names(rows), rows["label"].to_pylist()
    keys = np.asarray([f"{name}\0{label}" for name, label in zip(names_of, labels, strict=True)])
    _, first, units = np.unique(keys, return_index=True, return_inverse=True)
    return fit_attention(
        apply_temperature(values.reshape(-1, len(classes)), record.temperature),
        units.astype(np.int64),
        np.asarray([list(classes).index(labels[at]) for at in first], dtype=np.int64),
    )


def training_units(rows: pa.Table, level: Level) -> pa.Table:
    """``label`` and ``source`` of the units of a cohort's rows, one row per unit."""
    names = _scan_names(rows)
    if level == "patient":
        names = _patient_names(rows, names)
    keyed = rows.select(["label", "source"]).append_column("unit", pa.array(names, pa.string()))
    return keyed.group_by(["unit", "label", "source"]).aggregate([])


def _scan_names(rows: pa.Table) -> list[str]:
    scans = rows["scan_id"].to_pylist()
    sources, uris = rows["source"].to_pylist(), rows["uri"].to_pylist()
    return [
        uri if scan is None else f"{source}:{scan}"
        for scan, source, uri in zip(scans, sources, uris, strict=True)
    ]


def _patient_names(rows: pa.Table, scans: Sequence[str]) -> list[str]:
    """The patient of each row, or its scan where none is known.

    Not its group: that may hold several patients with near copies.
    """
    known = rows["patient_id"].to_pylist()
    return [
        scan if patient is None else patient for patient, scan in zip(known, scans, strict=True)
    ]


def _pooled(rows: pa.Table, names: Sequence[str], how: Any) -> pa.Table:
    """Merge rows of one unit and label; adds the columns ``unit`` and ``images``."""
    keys = np.asarray(
        [f"{name}\0{label}" for name, label in zip(names, rows["label"].to_pylist(), strict=True)]
    )
    _, first, units = np.unique(keys, return_index=True, return_inverse=True)
    probabilities = np.asarray(rows["probability"].to_pylist(), dtype=np.float64)
    pooled, sizes = pool(probabilities, units.astype(np.int64), how)
    if "images" in rows.column_names:
        sizes = np.bincount(units, weights=rows["images"].to_numpy()).astype(np.int64)
    merged = rows.select(list(_CARRIED)).take(pa.array(first))
    return (
        merged.append_column("unit", pa.array([names[at] for at in first], pa.string()))
        .append_column("images", pa.array(sizes, pa.int32()))
        .append_column("probability", pa.array(pooled.tolist(), pa.list_(pa.float64())))
    )


def _with_predictions(units: pa.Table, level: Level, classes: Sequence[str]) -> pa.Table:
    places = np.asarray(units["probability"].to_pylist(), dtype=np.float64).argmax(axis=1)
    named = units.append_column(
        "prediction", pa.array([classes[place] for place in places], pa.string())
    ).append_column("level", pa.array([level] * units.num_rows, pa.string()))
    return (
        named.select(schemas.UNITS.names)
        .cast(schemas.UNITS)
        .sort_by([("unit", "ascending"), ("label", "ascending")])
    )
