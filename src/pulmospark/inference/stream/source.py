"""The source of a stream for Spark: entries of images, scored by the tasks that read them.

Spark imports this module in several processes of its own before the first image is read, one
after the other; so it imports little itself, and the work only where a task runs.
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
_PIECES_EACH = 2  # for a slot, so that one slow image keeps nobody waiting for long
_PIECE_IMAGES_MIN = 16


@dataclass(frozen=True)
class SourceSpec:
    """What the source is told, in the one text that Spark hands on."""

    state: str
    """file of the stream's state; the driver's machine alone need see it"""
    slots: int
    """tasks that run at once"""
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
        """What Spark calls it."""
        return NAME

    def schema(self) -> str:
        """One row a piece of an entry and table, or its error."""
        return _ROW_SCHEMA

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802 - Spark's
        """For the stream."""
        del schema
        return _ImagesReader(SourceSpec.from_json(self.options["spec"]))


class Piece(InputPartition):
    """Some files of an entry; carries all that a task needs."""

    def __init__(self, entry: int, work: str, files: list[Arrival]) -> None:
        self.entry, self.work, self.files = entry, work, files


class _ImagesReader(DataSourceStreamReader):
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
    """Files dealt out to tasks: as many pieces as slots, or twice that where there are many.

    An entry without files gives every slot an empty piece, which warms its worker.
    """
    if not files:
        return [[] for _ in range(slots)]
    pieces = min(len(files), slots)
    if len(files) >= slots * _PIECES_EACH * _PIECE_IMAGES_MIN:
        pieces = slots * _PIECES_EACH
    return [list(files[start::pieces]) for start in range(pieces)]
