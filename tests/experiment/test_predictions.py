"""The tested images, each with the scores of its own model: an independent join says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import special

from pulmospark.chunks.parts import write_part
from pulmospark.core import schemas
from pulmospark.experiment import predictions

CLASSES = ("ill", "odd", "well")
_IMAGES = 60


def _write(folder: Path, *, folds: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A cohort, and scores of every model, in parts and in no order."""
    rng = np.random.default_rng(folds)
    uris = [f"/{number:02}.png" for number in rng.permutation(_IMAGES)]
    cohort = pd.DataFrame(
        {
            "image_id": [f"{number:064x}" for number in range(_IMAGES)],
            "uri": uris,
            "label": rng.choice(CLASSES, _IMAGES),
            "source": "set",
            "group_id": uris,
            "split": rng.choice(["train", "validation", "test"], _IMAGES),
            "fold": pd.array(
                rng.integers(0, folds, _IMAGES) if folds else [None] * _IMAGES, "Int32"
            ),
            "reason": ["excluded" if left else None for left in rng.random(_IMAGES) < 0.1],
        }
    )
    whole = {
        field.name: None if field.nullable else "other"
        for field in schemas.COHORT
        if field.name not in cohort
    }
    (folder / "cohort" / "table").mkdir(parents=True)
    table = pa.Table.from_pandas(
        cohort.assign(**whole), schema=schemas.COHORT, preserve_index=False
    )
    pq.write_table(table, folder / "cohort" / "table" / "part.parquet")
    names = [*(f"fold-{n}" for n in range(folds)), "final", "final-inner"]
    scores = cohort[["image_id", "uri"]].merge(pd.Series(names, name="model"), how="cross")
    scores["logits"] = list(rng.normal(0, 3, (len(scores), len(CLASSES))))
    for number, some in enumerate(np.array_split(rng.permutation(len(scores)), 3)):
        rows = pa.Table.from_pandas(scores.iloc[some], schema=schemas.SCORES, preserve_index=False)
        (folder / "scores").mkdir(exist_ok=True)
        write_part(rows, folder / "scores" / f"{number}.parquet")
    return cohort, scores


@pytest.mark.parametrize("folds", [0, 3])
def test_each_image_is_predicted_by_the_model_that_it_tested(tmp_path: Path, folds: int) -> None:
    cohort, scores = _write(tmp_path, folds=folds)
    temperatures = {"final": 2.0, "fold-0": 0.5, "fold-1": 1.0, "fold-2": 3.0}
    table = predictions.tested_images(
        tmp_path / "cohort",
        tmp_path / "scores",
        classes=CLASSES,
        temperatures=temperatures,
        model_id="m" * 64,
    )
    assert table.schema == schemas.PREDICTIONS
    tested = cohort[cohort["reason"].isna() & (bool(folds) | (cohort["split"] == "test"))]
    model = "fold-" + tested["fold"].astype("string") if folds else "final"
    wanted = tested.assign(model=model).merge(scores, on=["uri", "model"]).sort_values("uri")
    heat = wanted["model"].map(temperatures).to_numpy()[:, None]
    probability = special.softmax(np.stack(wanted["logits"].tolist()) / heat, axis=1)
    assert 0 < len(wanted) < _IMAGES
    assert table["uri"].to_pylist() == wanted["uri"].tolist()
    assert table["label"].to_pylist() == wanted["label"].tolist()
    np.testing.assert_allclose(table["probability"].to_pylist(), probability, rtol=1e-12)
    assert table["prediction"].to_pylist() == np.take(CLASSES, probability.argmax(axis=1)).tolist()


def test_no_tested_image_is_an_empty_table(tmp_path: Path) -> None:
    _write(tmp_path, folds=0)
    for part in (tmp_path / "scores").iterdir():
        part.unlink()
    table = predictions.tested_images(
        tmp_path / "cohort", tmp_path / "scores", classes=CLASSES, temperatures={}, model_id="m"
    )
    assert table.num_rows == 0
    assert table.schema == schemas.PREDICTIONS
