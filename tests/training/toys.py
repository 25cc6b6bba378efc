"""Toy problems: images whose class is the side that is bright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.config.train import NetworkSettings
from pulmospark.core import schemas
from pulmospark.training.data_loader import ImageSet
from pulmospark.training.rank import RankPlan

SIZE = 16
CLASSES = ("left", "right")


def toy_images(count: int, seed: int = 0) -> ImageSet:
    """Images of 16 x 16 pixels, half of them bright on the left."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 2
    pixels = rng.integers(0, 120, (count, SIZE, SIZE), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[:, label * SIZE // 2 : (label + 1) * SIZE // 2] += 100
    return ImageSet(pixels, labels)


def write_toy(folder: Path, count: int = 60, group: int = 16) -> tuple[Path, Path]:
    """An images table and a cohort of toy images; every fifth validates, every seventh tests."""
    toys = toy_images(count)
    images, cohort = folder / "images", folder / "cohort" / "table"
    images.mkdir(parents=True)
    cohort.mkdir(parents=True)
    rows, members = [], []
    for number, (pixels, label) in enumerate(zip(toys.pixels, toys.labels, strict=True)):
        row = dict.fromkeys(schemas.IMAGES.names) | dict.fromkeys(schemas.COHORT.names)
        row |= {
            "image_id": f"{number:064x}",
            "uri": f"/images/{number:05d}.png",
            "source": "toy",
            "group_id": f"toy:{number}",
            "label": CLASSES[label],
            "view": "PA",
            "modality": "X-ray",
            "view_measured": False,
            "format": "png",
            "size_bytes": 1,
            "modified_ns": 1,
            "height": SIZE,
            "width": SIZE,
            "pixels": pixels.tobytes(),
            "phash": number,
            "split": _part(number),
            "reason": "view: lateral" if number % 11 == 10 else None,
        }
        rows.append({name: row[name] for name in schemas.IMAGES.names})
        members.append({name: row[name] for name in schemas.COHORT.names})
    table = pa.Table.from_pylist(rows, schema=schemas.IMAGES)
    half = count // 2
    for part, piece in enumerate((table.slice(half), table.slice(0, half))):
        pq.write_table(piece, images / f"{part}.parquet", row_group_size=group)
    pq.write_table(pa.Table.from_pylist(members, schema=schemas.COHORT), cohort / "0.parquet")
    return images, cohort.parent


def _part(number: int) -> str:
    return "validation" if number % 5 == 4 else "test" if number % 7 == 6 else "train"


def toy_plan(folder: Path, **changes: object) -> RankPlan:
    """A plan to train the basic CNN on the toy images."""
    images, cohort = write_toy(folder)
    plan = RankPlan(
        model="basic_cnn",
        classes=CLASSES,
        images=images,
        cohort=cohort,
        fold=None,
        size=SIZE,
        settings=NetworkSettings(epochs=16, batch_size=8, learning_rate=3e-3, precision="fp32"),
        seed=1,
        threads=1,
        folder=folder / "work",
    )
    return plan.model_copy(update=changes)
