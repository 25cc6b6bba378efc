"""The log that makes a folder of Parquet files a Delta table as well.

A published table is whole: its folder appears at once, and is replaced as a whole. So its log has
one entry, version 0, that names the files that lie there; what reads Delta tables (Spark, DuckDB,
Polars, pandas by deltalake) reads this one without our code. The format is that of the Delta
transaction protocol, reader version 1 and writer version 2:
https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

LOG: Final = "_delta_log"
"""folder of the log; readers of Parquet skip names that begin with an underscore"""

_TYPES: Final[Mapping[pa.DataType, str]] = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int8(): "byte",
    pa.int16(): "short",
    pa.int32(): "integer",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamp",
}
_TABLE_ID: Final = uuid.UUID("7f8d3a52-3a41-4c1b-9a39-5d1c2f5a0e10")
"""namespace of the tables' ids"""


def write_log(folder: Path, schema: pa.Schema, rows: Mapping[str, int] | None = None) -> None:
    """Write the log of a table whose Parquet files all lie in its folder.

    The same files give the same log, byte for byte.

    Args:
        folder: of the table.
        schema: of the files.
        rows: name of a file -> its rows, which let a reader count without opening it; files
            that are not named are counted by their readers.

    Raises:
        TypeError: Delta has no such type as one of the columns has.
    """
    files = sorted(folder.glob("*.parquet"))
    facts = {path.name: path.stat() for path in files}
    latest = max((int(fact.st_mtime * 1000) for fact in facts.values()), default=0)
    known = rows or {}
    entries: list[dict[str, Any]] = [
        {"commitInfo": {"timestamp": latest, "operation": "WRITE", "engineInfo": "pulmospark"}},
        *first_actions(schema, str(uuid.uuid5(_TABLE_ID, "\n".join(facts))), latest),
    ]
    for name, fact in facts.items():
        added: dict[str, Any] = {
            "path": quote(name),
            "partitionValues": {},
            "size": fact.st_size,
            "modificationTime": int(fact.st_mtime * 1000),
            "dataChange": True,
        }
        if name in known:
            added["stats"] = json.dumps({"numRecords": known[name]})
        entries.append({"add": added})
    (folder / LOG).mkdir()
    (folder / LOG / entry_name(0)).write_bytes(entry_bytes(entries))


def first_actions(schema: pa.Schema, table_id: str, created_ms: int) -> list[dict[str, Any]]:
    """What the first entry of a log says of its table.

    Args:
        schema: of the files.
        table_id: a UUID.
        created_ms: since 1970, milliseconds.

    Raises:
        TypeError: Delta has no such type as one of the columns has.
    """
    return [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": table_id,
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(_struct(schema)),
                "partitionColumns": [],
                "configuration": {},
                "createdTime": created_ms,
            }
        },
    ]


def entry_name(version: int) -> str:
    """Name of the log's file of a version."""
    return f"{version:020d}.json"


def entry_bytes(actions: Iterable[Mapping[str, Any]]) -> bytes:
    """The content of that file."""
    lines = [json.dumps(action, separators=(",", ":")) for action in actions]
    return ("\n".join(lines) + "\n").encode()


def schema_of(folder: Path) -> pa.Schema:
    """The columns of a table, from the Parquet file that has most of them."""
    schemas = [pq.read_schema(path) for path in folder.glob("*.parquet")]
    return max(schemas, key=lambda schema: len(schema.names)).remove_metadata()


def rows_of(folder: Path) -> dict[str, int]:
    """Name of each Parquet file of a table -> its rows; reads the footers."""
    return {path.name: pq.read_metadata(path).num_rows for path in folder.glob("*.parquet")}


def _struct(fields: Any) -> dict[str, Any]:
    return {
        "type": "struct",
        "fields": [
            {
                "name": field.name,
                "type": delta_type(field.type),
                "nullable": field.nullable,
                "metadata": {},
            }
            for field in fields
        ],
    }


def delta_type(kind: pa.DataType) -> Any:
    """What a log calls a type of our tables.

    Raises:
        TypeError: Delta has no such type, or the tables of pulmospark do not use it.
    """
    if pa.types.is_list(kind):
        element = kind.value_field
        return {
            "type": "array",
            "elementType": delta_type(element.type),
            "containsNull": element.nullable,
        }
    if pa.types.is_struct(kind):
        return _struct(kind)
    if kind not in _TYPES:
        raise TypeError(f"Delta has no type for {kind}")
    return _TYPES[kind]
