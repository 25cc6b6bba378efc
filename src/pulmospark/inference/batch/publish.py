"""Publishes the parts written by tasks as a prediction's output folder, atomically."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pulmospark import chunks
from pulmospark.chunks.parquet_files import Place
from pulmospark.chunks.parts import read_parts
from pulmospark.core import files, limits, schemas
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.provenance import provenance
from pulmospark.data.ingest.rows import later_frames
from pulmospark.inference.batch.cautions import NOT_ASSESSABLE, sentence
from pulmospark.inference.batch.inputs import Inputs
from pulmospark.inference.batch.merged_table import MergedTable
from pulmospark.inference.batch.result import Decision, Prediction, PredictResult
from pulmospark.inference.batch.sinks.base import Output, ResultSink
from pulmospark.inference.batch.sinks.json_sink import RECORD
from pulmospark.inference.batch.sinks.parquet_sink import SCHEMAS, ParquetSink
from pulmospark.inference.batch.sinks.registry import SINKS
from pulmospark.inference.batch.tally import Tally
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.explain.files import link_files
from pulmospark.inference.precision.check import PrecisionOutcome
from pulmospark.layouts.base import ListingNotes
from pulmospark.models.bundle.bundle import Bundle
from pulmospark.store.commit import Commit
from pulmospark.store.folders import put_files, upload
from pulmospark.store.store import in_parallel
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
    """of the output in a store"""
    sinks: tuple[ResultSink, ...] = ()
    """in addition to those of every prediction"""
    commits: Mapping[str, Commit] = field(default_factory=dict)
    """of the tables in a store, from :func:`begun_commits`"""

    @property
    def has_output(self) -> bool:
        """Whether tables are written, to a disk or a store."""
        return self.target is not None or self.address is not None

    @property
    def own_sinks(self) -> tuple[type[ResultSink], ...]:
        """Those of every prediction; in a store the parts are committed where they lie."""
        if not self.has_output:
            return ()
        return SINKS if self.address is None else tuple(s for s in SINKS if s is not ParquetSink)

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
    named_as_frames: frozenset[str] = frozenset()
    """files whose names end like that of a later frame"""
    heat_maps: str | None = None
    """folder or address with the heat maps that the tables name; ``None``: not requested"""
    are_placed: bool = False
    """whether the parts of a table in a store lie in its folder, and are committed there"""

    def by_table(self) -> dict[str, dict[Place, int]]:
        """The parts of each table, without duplicates, and their rows."""
        parts = (*self.of_files, *self.of_images)
        return {
            name: {part.place: part.rows for part in parts if part.table == name}
            for name in SCHEMAS
        }

    def later_frames(self, place: Place, rows: pa.Table) -> int:
        """Count the predictions of a part that are not the first of their file."""
        if place not in self._of_files:
            return 0
        return sum(uri not in self.named_as_frames for uri in later_frames(rows["uri"]))

    @functools.cached_property
    def _of_files(self) -> frozenset[Place]:
        return frozenset(part.place for part in self.of_files)


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
    by_table = {name: list(parts) for name, parts in written.by_table().items()}
    image = _image(scored, by_table) if scored.inputs.is_one_image else None
    tally = Tally(scored.bundle.config.classes, scored.points)
    sinks = (*(sink() for sink in scored.own_sinks), *scored.sinks)
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
        merged = _merged(scored.commits, written)
        _hand_over(output, written, sinks, tally, merged)
        for name, table in merged.items():
            scored.commits[name].name_files(table.end())
        if tally.images - tally.later_frames + tally.rejects != seen:
            raise InputError(
                f"{tally.images + tally.rejects} rows for {seen} files seen: a table has "
                "duplicate rows; name each image once"
            )
        seconds["write"] = time.perf_counter() - begun
        result = _result(scored, tally, seen, seconds, image)
        record = _record(scored, result) if sinks else {}
        for sink in sinks:
            sink.finish(record)
            sink.close()
        if scored.address is not None:
            _publish_stored(scored.address, folder, scored.commits.values())
    return result


def _merged(commits: Mapping[str, Commit], written: Written) -> dict[str, MergedTable]:
    """The tables whose parts are to be merged; the commits of others learn of their parts."""
    merged = {}
    for name, commit in commits.items():
        if written.are_placed:
            parts = written.by_table()[name]
            commit.name_files({place.name: rows for place, rows in parts.items()})
        else:
            merged[name] = MergedTable(commit.table, SCHEMAS[name])
    return merged


def begun_commits(address: StoreUri | None) -> dict[str, Commit]:
    """A commit of each table of an output in a store; none of one on a disk."""
    if address is None:
        return {}
    return {name: Commit(address / name, schema) for name, schema in SCHEMAS.items()}


def _publish_stored(address: StoreUri, folder: Path, commits: Iterable[Commit]) -> None:
    """Commit the tables, put the files next to them, and the record when all else is there."""

    def put() -> None:
        put_files(folder, address, but=RECORD)

    in_parallel(lambda step: step(), [*(commit.run for commit in commits), put])
    upload(address, [(folder / RECORD, (address / RECORD).key)])


def _hand_over(
    output: Output,
    written: Written,
    sinks: Sequence[ResultSink],
    tally: Tally,
    merged: Mapping[str, MergedTable],
) -> None:
    """Hand all rows to the sinks, in order; holds a few parts in memory."""
    for sink in sinks:
        sink.begin(output)
    takers: list[Tally | ResultSink] = [tally, *sinks]
    for place, rows in read_parts(output.parts["predictions"], schemas.PREDICTIONS.names):
        if merged:
            merged["predictions"].add(place, rows)
        tally.later_frames += written.later_frames(place, rows)
        if isinstance(place, Path) and written.heat_maps is not None:
            link_files(rows["heat_map"].to_pylist(), Path(written.heat_maps), output.folder)
        tally.heat_maps += len(rows) if written.heat_maps is not None else 0
        for row in _rows(rows):
            for taker in takers:
                taker.prediction(row)
    for place, rows in read_parts(output.parts["rejects"], schemas.REJECTS.names):
        if merged:
            merged["rejects"].add(place, rows)
        for row in _rows(rows):
            for taker in takers:
                taker.reject(row)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(limits.ROW_GROUP_ROWS):
        yield from batch.to_pylist()


def _image(scored: Scored, by_table: dict[str, list[Place]]) -> Prediction | None:
    """Prediction of a single image; ``None``: it was rejected or has several slices, and the
    output folder says so."""
    if not by_table["predictions"]:
        row = chunks.read_part(by_table["rejects"][0]).to_pylist()[0]
        if not scored.has_output:
            raise InputError(f"{row['uri']}: {row['reason']}: {row['detail']}")
        return None
    part = by_table["predictions"][0]
    row, *more = chunks.read_part(part).to_pylist()
    if more:  # a CT in one file
        if not scored.has_output:
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
        heat_map=row["heat_map"] if scored.has_output else None,
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
        folder=scored.target,
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
        heat_maps=tally.heat_maps,
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
