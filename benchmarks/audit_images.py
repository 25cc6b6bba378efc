"""Subjects without any picture: what is known of images, drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pulmospark.audit.subject import Subject
from pulmospark.config.audit import AuditSettings
from pulmospark.data.duplicates.near_duplicates import NearCopies, clusters

CLASSES = ("COVID-19", "normal", "pneumonia")


def clean_subject(
    images: int = 600, *, seed: int = 1, right: float | None = None, **columns: Any
) -> Subject:
    """Images of which nothing tells the class; two a patient, in train and test.

    Args:
        images: how many.
        seed: of all that is drawn.
        right: share of the tested images that a made-up model names rightly, with that
            probability; ``None``: there is no model.
        columns: columns to be put in place of the drawn ones.
    """
    random = np.random.default_rng(seed)
    patients = np.repeat(np.arange(images // 2), 2)
    labels = random.choice(3, images // 2)[patients]
    split = random.choice(["train", "test"], images // 2, p=[0.5, 0.5])[patients]
    known: dict[str, Any] = {
        "image_id": [f"{n:064x}" for n in range(images)],
        "uri": [f"/images/{n:06d}.png" for n in range(images)],
        "source": random.choice(["alder", "birch"], images // 2)[patients],
        "patient_id": [f"alder:{n}" for n in patients],
        "finding": [CLASSES[n] for n in labels],
        "view": random.choice(["PA", "AP"], images // 2)[patients],
        "view_measured": [False] * images,
        "view_guess": pa.nulls(images, pa.string()),
        "age": random.normal(55, 15, images // 2)[patients].clip(19, 95).astype(np.float32),
        "sex": random.choice(["M", "F"], images // 2)[patients],
        "format": random.choice(["png", "jpeg"], images),
        "size_bytes": random.integers(50_000, 90_000, images),
        "height": random.choice([512, 1024], images).astype(np.int32),
        "width": random.choice([512, 1024], images).astype(np.int32),
        "label": [CLASSES[n] for n in labels],
        "group_id": [f"alder:{n}" for n in patients],
        "split": split,
        "fold": pa.nulls(images, pa.int32()),
        "scan_id": pa.nulls(images, pa.string()),
        **columns,
    }
    rows = pa.table({name: _array(values) for name, values in known.items()})
    return Subject(
        images=Path("/nowhere"),
        rows=rows,
        settings=AuditSettings(),
        seed=seed,
        classes=CLASSES,
        predictions=None if right is None else _predicted(rows, random, right),
    )


def _predicted(rows: pa.Table, random: np.random.Generator, right: float) -> pa.Table:
    tested = rows.filter(pa.array(np.asarray(rows["split"].to_pylist()) == "test"))
    hits = random.random(tested.num_rows) < right
    return with_hits(tested, hits, right)


def with_hits(tested: pa.Table, hits: npt.NDArray[np.bool_], said: float) -> pa.Table:
    """Predictions of tested images: rightly named or not, and how surely."""
    labels = [CLASSES.index(name) for name in tested["label"].to_pylist()]
    named = [n if hit else (n + 1) % len(CLASSES) for n, hit in zip(labels, hits, strict=True)]
    rest = (1 - said) / (len(CLASSES) - 1)
    chances = [[said if n == kind else rest for kind in range(len(CLASSES))] for n in named]
    return pa.table(
        {
            "uri": tested["uri"],
            "label": tested["label"],
            "prediction": [CLASSES[n] for n in named],
            "probability": chances,
        }
    )


def no_copies(images: int) -> NearCopies:
    """What a search says that found nothing."""
    return copies_of(images, [])


def copies_of(images: int, pairs: list[tuple[int, int]]) -> NearCopies:
    """What a search says that found these pairs."""
    random = np.random.default_rng(3)
    first, second = np.asarray(pairs, np.int64).reshape(-1, 2).T
    return NearCopies(
        first=first,
        second=second,
        correlation=np.full(first.size, 0.99),
        clusters=clusters(first, second, images),
        compared=first.size,
        distance=12,
        hot_buckets=0,
        looks={name: random.normal(100, 20, images) for name in ("mean", "border_mean")},
    )


def _array(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)
