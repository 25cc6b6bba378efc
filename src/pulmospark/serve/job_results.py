"""The results of a batch job enter the worklist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import pyarrow.parquet as pq

from pulmospark.core import files, serve_limits
from pulmospark.core.provenance import now_utc
from pulmospark.core.schemas import Caution, RejectReason
from pulmospark.data.ingest.rows import file_of, frame_of
from pulmospark.imaging.decode import Rejected
from pulmospark.inference.batch.sinks.json_sink import RECORD
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.serve import worklist
from pulmospark.serve.results import Origin, Result, results_of, shown_name
from pulmospark.serve.scoring_queue import FileOutcome, ScoredImage
from pulmospark.serve.served_model import ModelFacts
from pulmospark.serve.service import Service


def enter_results(service: Service, job_id: str, output: Path) -> None:
    """Enter a job's predictions and rejects, as many as the worklist keeps.

    Each group of rows is entered once, however often this is called.

    Args:
        service: of the worklist.
        job_id: of the job.
        output: the folder that ``predict`` wrote.
    """
    model = _model_of(output)
    room = service.settings.results_kept
    for number, rows in enumerate(_groups(output)):
        if room <= 0:
            return
        results = [result for row in rows[:room] for result in _result(row, model, job_id)]
        room -= len(results)
        key = f"job:{job_id}:{number}"
        entry = worklist.Entry(
            f"{job_id}-{number}", key, job_id, f"job:{job_id}", model.digest, results
        )
        with suppress(worklist.RepeatedKeyError):
            service.ledger.write(partial(worklist.enter, entry=entry, kept={})).result()


def _model_of(output: Path) -> ModelFacts:
    """The model of a prediction, which need not be the served one any more."""
    result = files.read_json(output / RECORD)["result"]
    return ModelFacts(
        name=result["model"],
        digest=result["model_id"],
        phantoms=Caution.PHANTOM_MODEL in result["cautions"],
        classes=tuple(result["classes"]),
        points=tuple(DecisionPoint(**point) for point in result["decision_points"]),
        fence=result["fence"],
    )


def _groups(output: Path) -> Iterator[list[dict[str, Any]]]:
    for table in ("predictions", "rejects"):
        for part in sorted((output / table).glob("*.parquet")):
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(serve_limits.SERVE_PAGE_RESULTS_MAX):
                    yield batch.to_pylist()


def _result(row: Mapping[str, Any], model: ModelFacts, job_id: str) -> Iterator[Result]:
    uri = row["uri"]
    name = shown_name(PurePath(file_of(uri)).name)
    origin = Origin(name, f"job:{job_id}", now_utc().isoformat(timespec="milliseconds"))
    if "reason" in row:
        rejected = Rejected(RejectReason(row["reason"]), row["detail"], row["image_id"])
        outcome = FileOutcome((), rejected)
    else:
        facts = {
            "height": None,
            "width": None,
            "modality": "unknown",
            "study_id": None,
            "scan_id": row["scan_id"],
            "slice_index": frame_of(uri),
            "frame": frame_of(uri),
        }
        outcome = FileOutcome([ScoredImage(facts, dict(row), None)], None)
    yield from results_of(outcome, model, origin, row["image_id"] or "", seconds=0.0, stored=False)
