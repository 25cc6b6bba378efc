"""The source of a stream for Spark: entries of images, scored by the tasks that read them.

Spark imports this module in several processes, one after another, before the first image is read.
So it imports little itself, and imports the work only where a task runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.types import StructType

from pulmospark.inference.stream.ledger import Arrival, StreamState

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "pulmospark_images"

_ROW_SCHEMA = "entry bigint, name string, rows binary, error string"
_PIECES_EACH = 2  # per slot, so that one slow image does not delay the rest for long
_PIECE_IMAGES_MIN = 16


@dataclass(frozen=True)
class SourceSpec:
    """The source's options, as the single text that Spark passes on."""

    state: str
    """file of the stream's state; only the driver's machine needs it"""
    slots: int
    """number of concurrent tasks"""
    work: str
    """what tasks do: a ``stream_work.StreamWork`` as text"""

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SourceSpec:
        """From text."""
        return cls(**json.loads(text))


class ImagesSource(DataSource):
    """Images of a stream, as rows of Arrow bytes; the option ``spec`` is a :class:`SourceSpec`."""

    @classmethod
    def name(cls) -> str:
        """The source's name in Spark."""
        return NAME

    def schema(self) -> str:
        """One row per table of a piece, or its error."""
        return _ROW_SCHEMA

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802 - Spark's
        """For the stream."""
        del schema
        return _ImagesReader(SourceSpec.from_json(self.options["spec"]))


class Piece(InputPartition):
    """Some files of an entry, with everything that a task needs."""

    def __init__(self, entry: int, work: str, files: list[Arrival]) -> None:
        self.entry, self.work, self.files = entry, work, files


class _ImagesReader(DataSourceStreamReader):
    """An offset is the number of an entry; its files are in the state."""

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
        """The entry before the first uncommitted one."""
        waiting = self._state.open_entries()
        return {"entry": waiting[0] - 1 if waiting else self._state.last()}

    def latestOffset(self) -> dict[str, int]:  # type: ignore[override]  # noqa: N802 - without limits, as Spark 4.0 knows it
        """The next uncommitted entry: one per batch, so that each can fail alone."""
        waiting = self._state.open_entries()
        return {"entry": waiting[0] if waiting else self._state.last()}

    def partitions(self, start: dict[str, int], end: dict[str, int]) -> Sequence[InputPartition]:
        """The uncommitted entries between two offsets, in pieces."""
        return [
            Piece(entry, self._spec.work, files)
            for entry in self._state.open_entries(start["entry"], end["entry"])
            for files in pieces_of(self._state.arrivals(entry), self._spec.slots)
        ]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Score a piece."""
        from pulmospark.inference.stream.tasks import batch_of  # noqa: PLC0415 - see above

        assert isinstance(partition, Piece)
        yield from batch_of(partition)

    def commit(self, end: dict[str, int]) -> None:
        """Nothing: the state knows what is committed."""

    def stop(self) -> None:
        """Close the state."""
        if self._opened is not None:
            self._opened.close()


def pieces_of(files: Sequence[Arrival], slots: int) -> list[list[Arrival]]:
    """Distribute files to tasks: one piece per slot, or two if there are many files.

    An entry without files gives every slot an empty piece, which warms up its worker.
    """
    if not files:
        return [[] for _ in range(slots)]
    pieces = min(len(files), slots)
    if len(files) >= slots * _PIECES_EACH * _PIECE_IMAGES_MIN:
        pieces = slots * _PIECES_EACH
    return [list(files[start::pieces]) for start in range(pieces)]
