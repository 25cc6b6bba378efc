"""Predictions of an experiment: each image by the model that it tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pulmospark.chunks.parts import parts_of
from pulmospark.core import schemas
from pulmospark.core.provenance import now_utc
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.inference.engine.softmax import softmax
from pulmospark.training.results import model_name

_ROWS_AT_ONCE = 65_536
_MATCHES = schemas.SCORES.append(pa.field("place", pa.int32()))


def tested_images(
    cohort: Path,
    scores: Path,
    *,
    classes: tuple[str, ...],
    temperatures: Mapping[str, float],
    model_id: str,
) -> pa.Table:
    """Rows of the predictions table for the tested images, in the order of ``uri``.

    With folds, its own fold's model predicts each image; otherwise the final model predicts the
    test split. Memory holds these rows, not the scores of all models.

    Args:
        cohort: folder of the cohort.
        scores: the scores table.
        classes: in the order of the logits.
        temperatures: model -> temperature.
        model_id: of the bundle.
    """
    rows = read_cohort(cohort)
    in_fold = pc.is_valid(rows["fold"]).to_numpy()
    rows = rows.filter(pa.array(in_fold | in_part(rows, Part(Split.TEST))))
    models = pa.array(map(model_name, rows["fold"].to_pylist()), pa.string())
    uris = rows["uri"].combine_chunks()
    scored = pa.Table.from_batches(_matches(scores, uris, models), schema=_MATCHES)
    scored = scored.sort_by("place").combine_chunks()
    rows = rows.take(scored["place"])
    logits = pc.list_flatten(scored["logits"]).to_numpy().reshape(-1, len(classes))
    used = np.array([temperatures[name] for name in scored["model"].to_pylist()])
    probabilities = softmax(logits / used.reshape(-1, 1))
    ends = pa.array(np.arange(0, logits.size + 1, len(classes)), pa.int32())
    known = {
        "image_id": scored["image_id"],
        "prediction": pa.array(classes).take(pa.array(probabilities.argmax(axis=1))),
        "probability": pa.ListArray.from_arrays(ends, pa.array(probabilities.ravel())),
        "logits": scored["logits"],
        "model_id": pa.repeat(model_id, len(rows)),
        "predicted_at": pa.repeat(now_utc(), len(rows)),
    }
    missing = {name: pa.nulls(len(rows)) for name in schemas.PREDICTIONS.names}
    cohort_columns = dict(zip(rows.column_names, rows.columns, strict=True))
    columns = missing | cohort_columns | known
    return pa.table([columns[name] for name in missing], names=list(missing)).cast(
        schemas.PREDICTIONS
    )


def _matches(scores: Path, uris: pa.Array, models: pa.Array) -> Iterator[pa.RecordBatch]:
    """The scores of each image by its own model, with the image's place among ``uris``."""
    for part in parts_of(scores):
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=schemas.SCORES.names):
                places = pc.index_in(batch["uri"], value_set=uris)
                mine = pc.equal(models.take(places), batch["model"])  # null: not tested
                located = [*(batch[name] for name in schemas.SCORES.names), places]
                yield pa.record_batch(located, schema=_MATCHES).filter(mine)
