"""A run's folder as an experiment leaves it, without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pulmospark.chunks.parts import write_part
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.core import files, schemas
from pulmospark.core.provenance import now_utc
from pulmospark.evaluation.evaluate import evaluate_predictions
from pulmospark.experiment.run_folder import RunFolder

CLASSES = ("COVID-19", "normal", "=pneumonia")
SIDE = 64


def write_run(folder: Path, *, tested: int = 30, trained: int = 40, folds: int = 0) -> RunFolder:
    """An evaluated run with images of noise, each class with its own grey.

    Args:
        folder: of the run.
        tested: images of the test split.
        trained: images of the training split.
        folds: with folds all images are tested, and ``tested`` is added to ``trained``.
    """
    random = np.random.default_rng(7)
    run, count = RunFolder(folder), tested + trained
    for place in (run.cohort / "table", run.tables / "images", run.evaluation / "predictions"):
        place.mkdir(parents=True)
    labels = [CLASSES[number % 3] for number in range(count)]
    rows: dict[str, list[Any]] = {
        "image_id": [f"{number:064x}" for number in range(count)],
        "uri": [f"/data/image-{number}.png" for number in range(count)],
        "source": [("alder", "birch")[number % 2] for number in range(count)],
        "patient_id": [f"p{number // 2}" for number in range(count)],
        "group_id": [f"p{number // 2}" for number in range(count)],
        "view": ["PA"] * count,
        "split": ["test" if number < tested else "train" for number in range(count)],
        "fold": [number % folds if folds else None for number in range(count)],
        "label": labels,
    }  # fmt: skip
    if folds:
        rows["split"] = ["train"] * count
    write_part(_table(rows, schemas.COHORT), run.cohort / "table" / "part-0.parquet")
    _write_images(run, rows, random)
    shown = range(count if folds else tested)
    probabilities = random.dirichlet((2, 2, 2), len(shown))
    predictions = {
        **{name: [values[number] for number in shown] for name, values in rows.items()},
        "probability": probabilities.tolist(),
        "logits": np.log(probabilities).tolist(),
        "prediction": [CLASSES[place] for place in probabilities.argmax(axis=1)],
        "model_id": ["m"] * len(shown),
        "predicted_at": [now_utc()] * len(shown),
    }
    table = _table(predictions, schemas.PREDICTIONS)
    write_part(table, run.evaluation / "predictions" / "part-0.parquet")
    evaluation = evaluate_predictions(
        np.asarray([CLASSES.index(labels[number]) for number in shown]),
        probabilities,
        np.asarray([number // 2 for number in shown]),
        CLASSES,
        EvaluateSettings(replicates=100),
        1,
    )
    files.write_json(
        run.evaluation / "evaluation.json", {"evaluation": evaluation.model_dump(mode="json")}
    )
    files.write_json(run.settings, {"name": folder.name, "phantoms": False})
    return run


def _write_images(run: RunFolder, rows: dict[str, list[Any]], random: np.random.Generator) -> None:
    count = len(rows["image_id"])
    shades = [60 + 50 * CLASSES.index(label) for label in rows["label"]]
    images = [random.integers(shade - 50, shade + 50, (SIDE, SIDE)) for shade in shades]
    pixels = [image.clip(0, 255).astype(np.uint8).tobytes() for image in images]
    of_images = {
        **rows, "pixels": pixels, "modality": ["X-ray"] * count, "format": ["png"] * count,
        "view_measured": [False] * count,
    }  # fmt: skip
    for name in ("size_bytes", "modified_ns", "height", "width", "phash"):
        of_images[name] = [SIDE] * count
    write_part(_table(of_images, schemas.IMAGES), run.tables / "images" / "part-0.parquet")


def _table(rows: dict[str, list[Any]], schema: pa.Schema) -> pa.Table:
    count = len(rows["image_id"])
    columns = [pa.array(rows.get(field.name, [None] * count), field.type) for field in schema]
    return pa.table(columns, schema=schema)
