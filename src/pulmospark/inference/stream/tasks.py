"""The work of a stream's tasks.

An image is read, decoded and scored where the task runs, and its rows go to the driver as Arrow
bytes: Spark schedules the tasks and reports their ends, and no pixel leaves a worker.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import simplejpeg

from pulmospark.chunks import error_row, settle_worker
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import schemas
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.provenance import now_utc
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.inference.batch.cautions import Checks
from pulmospark.inference.batch.tasks import FilesWork, Scorer
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.explain.files import HeatFiles
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.source import Piece
from pulmospark.layouts.base import row_of
from pulmospark.layouts.walk import FoundFile
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.prefetch import find_many
from pulmospark.store.uri import is_store_uri, parse_uri

CHANGED = "changed"
"""name of the table of files that changed while being read"""

_ARROW_SCHEMA = pa.schema(
    [
        ("entry", pa.int64()),
        ("name", pa.string()),
        ("rows", pa.binary()),
        ("error", pa.string()),
    ]
)
_WARM_SIDE = 512

Row = tuple[int, str, bytes | None, str | None]


@dataclass(frozen=True)
class StreamWork:
    """A scorer with the settings it needs from the inbox and the bundle."""

    source: str
    """name of the inbox in the tables"""
    scorer: Scorer
    settings: IngestSettings
    """of the bundle's standard image"""
    inbox: str | None = None
    """its folder; files may disappear before they are read"""
    phantoms_only: bool = False
    """reject images that are not phantoms"""

    def to_json(self) -> str:
        """As text."""
        scorer = self.scorer
        return json.dumps(
            {
                "source": self.source,
                "engine": scorer.engine.model_dump(mode="json"),
                "classes": scorer.classes,
                "temperature": scorer.temperature,
                "model_id": scorer.model_id,
                "predicted_at": scorer.predicted_at.isoformat(),
                "checks": asdict(scorer.checks),
                "heat": None if scorer.heat is None else scorer.heat.to_json(),
                "phantoms_only": self.phantoms_only,
                "settings": self.settings.model_dump(mode="json"),
                "inbox": self.inbox,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> StreamWork:
        """From text."""
        fields = json.loads(text)
        scorer = Scorer(
            engine=EngineSpec.model_validate(fields["engine"]),
            classes=tuple(fields["classes"]),
            temperature=fields["temperature"],
            model_id=fields["model_id"],
            predicted_at=datetime.fromisoformat(fields["predicted_at"]),
            checks=Checks(**{**fields["checks"], "views": tuple(fields["checks"]["views"])}),
            heat=None if fields["heat"] is None else HeatFiles.from_json(fields["heat"]),
        )
        settings = IngestSettings.model_validate(fields["settings"])
        return cls(
            fields["source"],
            scorer,
            settings,
            fields["inbox"],
            phantoms_only=fields["phantoms_only"],
        )

    def warm(self) -> None:
        """Open the engine, decode an image and run the network on it."""
        side = np.arange(_WARM_SIDE, dtype=np.uint16)
        grey = ((side[:, None] + side[None, :]) // 4).astype(np.uint8)
        jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(grey[:, :, None]), colorspace="GRAY")
        image = image_from_bytes(jpeg, self.settings)
        if isinstance(image, StandardImage):
            self.scorer.run(image.pixels[None])

    def score(self, files: Sequence[Arrival]) -> Iterator[tuple[str, pa.Table]]:
        """Name and rows of the tables for these files, and of the files that changed meanwhile."""
        manifest = [
            asdict(
                row_of(
                    FoundFile(
                        arrival.uri, (), arrival.size_bytes, arrival.modified_ns, arrival.problem
                    ),
                    self.source,
                )
            )
            for arrival in files
        ]
        work = FilesWork(
            replace(self.scorer, predicted_at=now_utc()),
            self.settings,
            inbox=self.inbox,
            phantoms_only=self.phantoms_only,
        )
        tables: Mapping[str, pa.Table] = work(
            pa.Table.from_pylist(manifest, schema=schemas.MANIFEST)
        )
        yield from ((name, rows) for name, rows in tables.items() if rows.num_rows)
        # Checked after reading: a file unchanged since the listing was complete then.
        changed = changed_uris([arrival for arrival in files if arrival.problem is None])
        if changed:
            yield CHANGED, pa.table({"uri": changed})


def batch_of(piece: Piece) -> Iterator[pa.RecordBatch]:
    """Rows of a piece, for Spark; an error becomes a row, since Spark would retry the task."""
    try:
        work = StreamWork.from_json(piece.work)
        rows: list[Row] = [(piece.entry, "", None, None)]
        if piece.files:
            rows += [
                (piece.entry, name, to_bytes(table), None)
                for name, table in work.score(piece.files)
            ]
        else:
            work.warm()
    except SourceUnavailableError:
        raise  # Spark retries it, on another machine if possible
    except Exception as error:  # noqa: BLE001 - sent to the driver, which raises it
        rows = [(piece.entry, "", None, error_row(error))]
    columns = zip(*rows, strict=True)
    yield pa.RecordBatch.from_arrays(
        [
            pa.array(values, field.type)
            for values, field in zip(columns, _ARROW_SCHEMA, strict=True)
        ],
        schema=_ARROW_SCHEMA,
    )
    settle_worker()


def changed_uris(files: Sequence[Arrival]) -> list[str]:
    """Those that differ by now from what was listed; one that is gone keeps its result.

    Raises:
        SourceUnavailableError: a store fails.
    """
    stored = [arrival for arrival in files if is_store_uri(arrival.uri)]
    now = find_many(parse_uri(arrival.uri, error=InputError) for arrival in stored)
    changed = [
        arrival.uri
        for arrival, found in zip(stored, now, strict=True)
        if not isinstance(found, ObjectMissingError)
        and (found.size_bytes, found.etag) != (arrival.size_bytes, arrival.etag)
    ]
    return changed + [a.uri for a in files if not is_store_uri(a.uri) and _changed(a)]


def _changed(arrival: Arrival) -> bool:
    try:
        facts = os.stat(arrival.uri)  # noqa: PTH116
    except OSError:
        return False  # gone: its result stands
    return (facts.st_size, facts.st_mtime_ns) != (arrival.size_bytes, arrival.modified_ns)


def to_bytes(table: pa.Table) -> bytes:
    """Rows in Arrow's stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def from_bytes(data: bytes) -> pa.Table:
    """The table from :func:`to_bytes`, at the driver."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
