"""Parts of a table whose pixels stay in a store: copies of the other columns.

Most of an images table's bytes are pixels, and most readers need none. A light part has the same
row groups as the part in the store, and its address in the schema's metadata: what publishes the
table names the object there, and uploads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core import files
from pulmospark.core.delta_log import schema_of
from pulmospark.core.store_uri import StoreUri, parse_uri
from pulmospark.store.object_file import ObjectFile
from pulmospark.store.store import in_parallel

HEAVY: Final = "pixels"
"""column that a light part lacks"""
_WHOLE: Final = b"pulmospark.whole"


def write_light(uri: StoreUri, target: Path) -> None:
    """Write a light part of a Parquet file in a store; only its light columns are read.

    Of a file without pixels all columns are copied.

    Raises:
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
    """
    with ObjectFile(uri) as source, pq.ParquetFile(source, pre_buffer=True) as file:
        whole = file.schema_arrow
        heavy = whole.get_field_index(HEAVY)
        light = whole if heavy < 0 else whole.remove(heavy)
        schema = light.with_metadata({**(light.metadata or {}), _WHOLE: str(uri).encode()})
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=light.names).select(light.names)
                writer.write_table(rows.cast(schema), row_group_size=max(rows.num_rows, 1))


def has_pixels(uri: StoreUri) -> bool:
    """Whether a Parquet file in a store has pixels.

    Raises:
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
    """
    with ObjectFile(uri) as source, pq.ParquetFile(source) as file:
        return HEAVY in file.schema_arrow.names


def light_copies(places: Sequence[StoreUri], folder: Path) -> list[Path]:
    """Light parts of Parquet files in a store, in their order and under their names.

    Args:
        places: of the files.
        folder: for the light parts; created if missing.

    Raises:
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
        PlatformError: no space, or no right to write there.
    """

    def copy(uri: StoreUri) -> Path:
        target = folder / uri.name
        write_light(uri, target)
        return target

    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return in_parallel(copy, places)


def whole_schema(table: Path) -> pa.Schema:
    """The columns of a table of this machine, those of its light parts included.

    Raises:
        ObjectMissingError: a file is not in the store any more.
        SourceUnavailableError: the store fails.
    """
    here = schema_of(table)
    wholes = (whole_of(part) for part in sorted(table.glob("*.parquet")))
    first = next((whole for whole in wholes if isinstance(whole, StoreUri)), None)
    if HEAVY in here.names or first is None:
        return here
    with ObjectFile(first) as source, pq.ParquetFile(source) as file:
        return file.schema_arrow.remove_metadata()


def whole_of(part: Path) -> Path | StoreUri:
    """The file with all columns: the address that a light part names, or the part itself.

    Raises:
        OSError: it cannot be read.
    """
    metadata = pq.read_schema(part).metadata or {}
    return parse_uri(metadata[_WHOLE].decode()) if _WHOLE in metadata else part
