"""The source of a stream for Spark: entries of films, scored by the tasks that read them.

A film is read, decoded and scored where a task reads it, and its rows go to the driver as
Arrow's own bytes: Spark places the tasks and tells their ends, and no pixel leaves a worker.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
from pyspark.sql.datasource import (
    DataSource,
    DataSourceStreamReader,
    InputPartition,
)
from pyspark.sql.types import StructType

from pulmospark.core import tables
from pulmospark.core.provenance import now_utc
from pulmospark.core.settings import IngestSettings
from pulmospark.imaging.film import Film, film_from_bytes
from pulmospark.layouts.base import row_of
from pulmospark.layouts.walk import FoundFile
from pulmospark.scoring.engine import EngineSpec, open_engine
from pulmospark.scoring.predict_work import FilesWork, Scorer
from pulmospark.scoring.stream_state import Arrival, StreamState
from pulmospark.spark.chunks import error_row, settle_worker

NAME = "pulmospark_films"
CHANGED = "changed"
"""name of the rows of paths whose files changed while they were read"""

_ROW_SCHEMA = "entry bigint, name string, rows binary, error string"
_ARROW_SCHEMA = pa.schema(
    [
        ("entry", pa.int64()),
        ("name", pa.string()),
        ("rows", pa.binary()),
        ("error", pa.string()),
    ]
)
_PIECES_EACH = 2  # for a slot, so that one slow film keeps nobody waiting for long
_PIECE_FILMS_MIN = 16
_WARM_SIDE = 512


@dataclass(frozen=True)
class SourceSpec:
    """What the source is told, in the one text that Spark hands on."""

    state: str
    """file of the stream's state; the driver's machine alone need see it"""
    source: str
    """name of the inbox in the tables"""
    slots: int
    """tasks that run at once"""
    scorer: Scorer
    settings: IngestSettings
    """of the bundle's standard image"""

    def to_json(self) -> str:
        """As text."""
        scorer = self.scorer
        return json.dumps(
            {
                "state": self.state,
                "source": self.source,
                "slots": self.slots,
                "engine": scorer.engine.model_dump(mode="json"),
                "classes": scorer.classes,
                "temperature": scorer.temperature,
                "model_id": scorer.model_id,
                "predicted_at": scorer.predicted_at.isoformat(),
                "settings": self.settings.model_dump(mode="json"),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> SourceSpec:
        """From text."""
        told = json.loads(text)
        scorer = Scorer(
            EngineSpec.model_validate(told["engine"]),
            tuple(told["classes"]),
            told["temperature"],
            told["model_id"],
            datetime.fromisoformat(told["predicted_at"]),
        )
        return cls(
            told["state"],
            told["source"],
            told["slots"],
            scorer,
            IngestSettings.model_validate(told["settings"]),
        )


class FilmsSource(DataSource):
    """Films of a stream, as rows of Arrow bytes; the option ``spec`` is a :class:`SourceSpec`."""

    @classmethod
    def name(cls) -> str:
        """What Spark calls it."""
        return NAME

    def schema(self) -> str:
        """One row a piece of an entry and table, or its error."""
        return _ROW_SCHEMA

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802 - Spark's
        """For the stream."""
        del schema
        return _FilmsReader(SourceSpec.from_json(self.options["spec"]))


class _Piece(InputPartition):
    """Some files of an entry; carries all that a task needs."""

    def __init__(self, entry: int, source: str, work: FilesWork, files: list[Arrival]) -> None:
        self.entry, self.source, self.work, self.files = entry, source, work, files


class _FilmsReader(DataSourceStreamReader):
    """An offset is the number of an entry; the state alone says what is in it."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._opened: StreamState | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_spec": self._spec, "_opened": None}

    @property
    def _state(self) -> StreamState:
        if self._opened is None:
            self._opened = StreamState(Path(self._spec.state), read_only=True)
        return self._opened

    def initialOffset(self) -> dict[str, int]:  # noqa: N802 - Spark's names
        """The entry before the first that is not committed."""
        waiting = self._state.open_entries()
        return {"entry": waiting[0] - 1 if waiting else self._state.last()}

    def latestOffset(self) -> dict[str, int]:  # type: ignore[override]  # noqa: N802 - without limits, as Spark 4.0 knows it
        """The next entry that is not committed: a batch has one, so that each can fail alone."""
        waiting = self._state.open_entries()
        return {"entry": waiting[0] if waiting else self._state.last()}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> Sequence[InputPartition]:
        """The entries between two offsets that are not committed, in pieces."""
        spec = self._spec
        work = FilesWork(spec.scorer, spec.settings)
        return [
            _Piece(entry, spec.source, work, piece)
            for entry in self._state.open_entries(start["entry"], end["entry"])
            for piece in pieces_of(self._state.arrivals(entry), spec.slots)
        ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Score a piece."""
        assert isinstance(partition, _Piece)
        try:
            rows = _rows_of(partition)
        except Exception as error:  # noqa: BLE001 - told to the driver, which raises it
            rows = [(partition.entry, "", None, error_row(error))]
        yield _batch(rows)
        settle_worker()

    def commit(self, end: dict[str, int]) -> None:
        """Nothing: the state knows what is committed."""

    def stop(self) -> None:
        """Close the state."""
        if self._opened is not None:
            self._opened.close()


Row = tuple[int, str, bytes | None, str | None]


def _rows_of(piece: _Piece) -> list[Row]:
    if not piece.files:
        warm(piece.work)
        return [(piece.entry, "", None, None)]
    found = score(piece.work, piece.source, piece.files)
    return [(piece.entry, name, to_bytes(table), None) for name, table in found]


def warm(work: FilesWork) -> None:
    """Open the engine, decode a picture and run the network on it."""
    side = np.arange(_WARM_SIDE, dtype=np.uint16)
    grey = ((side[:, None] + side[None, :]) // 4).astype(np.uint8)
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(grey[:, :, None]), colorspace="GRAY")
    film = film_from_bytes(jpeg, work.settings)
    if isinstance(film, Film):
        size = work.settings.size
        pixels = np.frombuffer(film.pixels, np.uint8).reshape(1, size, size)
        open_engine(work.scorer.engine).run(pixels)


def pieces_of(files: Sequence[Arrival], slots: int) -> list[list[Arrival]]:
    """Files dealt out to tasks: as many pieces as slots, or twice that where there are many.

    An entry without files gives every slot an empty piece, which warms its worker.
    """
    if not files:
        return [[] for _ in range(slots)]
    pieces = min(len(files), slots)
    if len(files) >= slots * _PIECES_EACH * _PIECE_FILMS_MIN:
        pieces = slots * _PIECES_EACH
    return [list(files[start::pieces]) for start in range(pieces)]


def score(
    work: FilesWork, source: str, files: Sequence[Arrival]
) -> Iterator[tuple[str, pa.Table]]:
    """Name and rows of the tables that files give, and paths of those that changed meanwhile."""
    manifest = [
        asdict(
            row_of(FoundFile(one.uri, (), one.size_bytes, one.modified_ns, one.problem), source)
        )
        for one in files
    ]
    scorer = replace(work.scorer, predicted_at=now_utc())
    found: Mapping[str, pa.Table] = FilesWork(scorer, work.settings)(
        pa.Table.from_pylist(manifest, schema=tables.MANIFEST)
    )
    yield from ((name, rows) for name, rows in found.items() if rows.num_rows)
    # Looked at after they were read: what is still as it was listed was whole, or never will be.
    changed = [one.uri for one in files if one.problem is None and _changed(one)]
    if changed:
        yield CHANGED, pa.table({"uri": changed})


def _changed(one: Arrival) -> bool:
    try:
        facts = os.stat(one.uri)  # noqa: PTH116
    except OSError:
        return False  # gone: what was read of it stands
    return (facts.st_size, facts.st_mtime_ns) != (one.size_bytes, one.modified_ns)


def _batch(rows: Sequence[Row]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(values, field.type)
            for values, field in zip(columns, _ARROW_SCHEMA, strict=True)
        ],
        schema=_ARROW_SCHEMA,
    )


def to_bytes(table: pa.Table) -> bytes:
    """Rows as Arrow's own bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer: bytes = sink.getvalue().to_pybytes()
    return answer


def from_bytes(data: bytes) -> pa.Table:
    """What :func:`score` made, as it arrives at the driver."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
