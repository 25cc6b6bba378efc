"""Publishes the parts written by tasks as a prediction's output folder, atomically."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.core import files, limits, schemas
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.provenance import provenance
from pulmospark.data.ingest.rows import later_frames
from pulmospark.inference.batch.cautions import NOT_ASSESSABLE, sentence
from pulmospark.inference.batch.inputs import Inputs
from pulmospark.inference.batch.result import Decision, Prediction, PredictResult
from pulmospark.inference.batch.sinks.base import Output, ResultSink
from pulmospark.inference.batch.sinks.parquet_sink import SCHEMAS
from pulmospark.inference.batch.sinks.registry import SINKS
from pulmospark.inference.batch.tally import Tally
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.explain.files import link_files
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.layouts.base import ListingNotes
from pulmospark.models.bundle.bundle import Bundle
from pulmospark.store.uri import StoreUri

_NAMED_MAX = 100


@dataclass(frozen=True)
class Scored:
    """The inputs of a prediction, and the model and settings that scored them."""

    bundle: Bundle
    inputs: Inputs
    target: Path | None
    points: tuple[DecisionPoint, ...]
    notes: ListingNotes
    precision: PrecisionOutcome
    address: StoreUri | None = None
    """of the output in a store; the target is then where it is prepared"""
    sinks: tuple[ResultSink, ...] = ()
    """in addition to those of every prediction"""

    @property
    def fence(self) -> float | None:
        """Of the distances from the training images; ``None``: not assessable."""
        distance = self.bundle.config.distance
        return None if distance is None else distance.fence


@dataclass(frozen=True)
class Written:
    """What the tasks wrote."""

    of_files: Sequence[chunks.Part]
    of_images: Sequence[chunks.Part]
    """from rows of images tables; every row counts, whatever its frame"""
    named_as_frames: frozenset[str]
    """files whose names end like that of a later frame"""
    heat_maps: Path | None = None
    """folder with the heat maps that the tables name; ``None``: they were not requested"""

    def by_table(self) -> dict[str, list[Path]]:
        """The parts of each table, without duplicates."""
        parts = (*self.of_files, *self.of_images)
        return {
            name: list(dict.fromkeys(part.path for part in parts if part.table == name))
            for name in SCHEMAS
        }

    def link_heat_maps(self, folder: Path) -> int:
        """Link the heat maps that the tables name into an output folder; returns how many."""
        if self.heat_maps is None:
            return 0
        count = 0
        for part in self.by_table()["predictions"]:
            names = chunks.read_part(part, ["heat_map"])["heat_map"].to_pylist()
            link_files(names, self.heat_maps, folder)
            count += len(names)
        return count

    def later_frames(self) -> int:
        """Count the predictions that are not the first of their file."""
        paths = {part.path for part in self.of_files if part.table == "predictions"}
        return sum(
            uri not in self.named_as_frames
            for path in paths
            for uri in later_frames(chunks.read_part(path, ["uri"])["uri"])
        )


def publish(
    scored: Scored, written: Written, seen: int, seconds: dict[str, float]
) -> PredictResult:
    """Publish the tables, CSV files and the record of a prediction atomically.

    Args:
        scored: the inputs, the model and its settings.
        written: what the tasks wrote.
        seen: number of files and rows to be scored.
        seconds: of the stages so far; receives ``write``.

    Raises:
        InputError: there are more or fewer rows than images, or the only image was rejected and
            there is no output folder.
        PlatformError: no space, or no right to write there.
    """
    begun = time.perf_counter()
    by_table = written.by_table()
    image = _image(scored, by_table) if scored.inputs.is_one_image else None
    tally = Tally(scored.bundle.config.classes, scored.points)
    of_output = () if scored.target is None else SINKS
    sinks = (*(sink() for sink in of_output), *scored.sinks)
    with contextlib.ExitStack() as stack:
        if scored.target is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pulmospark-")))
        else:
            folder = stack.enter_context(files.whole_folder(scored.target))
        for sink in sinks:
            stack.callback(sink.close)
        output = Output(
            folder,
            scored.bundle.config.classes,
            scored.points,
            scored.fence,
            by_table,
            written.heat_maps is not None,
        )
        heat_maps = written.link_heat_maps(folder)
        _hand_over(output, sinks, tally)
        if tally.images - written.later_frames() + tally.rejects != seen:
            raise InputError(
                f"{tally.images + tally.rejects} rows for {seen} files seen: a table has "
                "duplicate rows; name each image once"
            )
        seconds["write"] = time.perf_counter() - begun
        result = _result(scored, tally, seen, seconds, image)
        result = result.model_copy(update={"heat_maps": heat_maps})
        record = _record(scored, result) if sinks else {}
        for sink in sinks:
            sink.finish(record)
            sink.close()
    return result


def _hand_over(output: Output, sinks: Sequence[ResultSink], tally: Tally) -> None:
    """Hand all rows to the sinks, in order; holds one row group in memory."""
    for sink in sinks:
        sink.begin(output)
    takers: list[Tally | ResultSink] = [tally, *sinks]
    for row in _rows(output.parts["predictions"], schemas.PREDICTIONS.names):
        for taker in takers:
            taker.prediction(row)
    for row in _rows(output.parts["rejects"], schemas.REJECTS.names):
        for taker in takers:
            taker.reject(row)


def _rows(parts: Sequence[Path], columns: list[str]) -> Iterator[dict[str, Any]]:
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(limits.ROW_GROUP_ROWS, columns=columns):
                yield from batch.to_pylist()


def _image(scored: Scored, by_table: dict[str, list[Path]]) -> Prediction | None:
    """Prediction of a single image; ``None``: it was rejected or has several slices, and the
    output folder says so."""
    if not by_table["predictions"]:
        row = chunks.read_part(by_table["rejects"][0]).to_pylist()[0]
        if scored.target is None:
            raise InputError(f"{row['uri']}: {row['reason']}: {row['detail']}")
        return None
    part = by_table["predictions"][0]
    row, *more = chunks.read_part(part).to_pylist()
    if more:  # a CT in one file
        if scored.target is None:
            raise UsageError(
                f"{scored.inputs.places[0]}: has {1 + len(more)} frames, each a slice: name a "
                "folder for their predictions with --out"
            )
        return None
    probabilities = dict(zip(scored.bundle.config.classes, row["probability"], strict=True))
    return Prediction(
        uri=row["uri"],
        image_id=row["image_id"],
        prediction=row["prediction"],
        probabilities=probabilities,
        decisions=tuple(
            Decision(
                positive_class=point.positive_class,
                threshold=point.threshold,
                positive=point.is_positive(probabilities[point.positive_class]),
            )
            for point in scored.points
        ),
        cautions=tuple(
            sentence(caution, row["distance"], scored.fence) for caution in row["cautions"]
        ),
        distance=row["distance"],
        heat_map=None if scored.target is None else row["heat_map"],
        outside_lungs=row["outside_lungs"],
        hottest_tenth=row["hottest_tenth"],
    )


def _result(
    scored: Scored,
    tally: Tally,
    seen: int,
    seconds: dict[str, float],
    image: Prediction | None,
) -> PredictResult:
    config = scored.bundle.config
    return PredictResult(
        folder=None if scored.address else scored.target,
        address=None if scored.address is None else str(scored.address),
        bundle=scored.bundle.folder,
        model_id=scored.bundle.model_id,
        model=config.model,
        classes=config.classes,
        files=seen,
        images=tally.images,
        rejects=tally.rejects,
        rejects_by_reason=dict(sorted(tally.reasons.items())),
        predictions={name: tally.predictions[name] for name in config.classes},
        decision_points=scored.points,
        positive={
            point.positive_class: tally.positive[point.positive_class] for point in scored.points
        },
        cautions=dict(sorted(tally.cautions.items())),
        fence=scored.fence,
        distances=NOT_ASSESSABLE if scored.fence is None else "assessed",
        layout=scored.inputs.layout,
        notes=scored.notes.summary(),
        precision=scored.precision,
        seconds={name: round(value, 3) for name, value in seconds.items()},
        image=image,
    )


def _record(scored: Scored, result: PredictResult) -> dict[str, object]:
    inputs = scored.inputs
    named = inputs.places
    settings = {
        "bundle": str(scored.bundle.folder),
        "model_id": scored.bundle.model_id,
        "inputs": [
            str(path).encode(errors="backslashreplace").decode() for path in named[:_NAMED_MAX]
        ],
        "inputs_in_all": len(named),
        "layout": inputs.layout,
        "precision": scored.precision.model_dump(mode="json"),
        "points": [point.model_dump(mode="json") for point in scored.points],
    }
    return {"result": result.model_dump(mode="json"), "provenance": provenance(settings)}
