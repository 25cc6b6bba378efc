"""Parts of a table whose pixels stay in a store: copies of the other columns.

Most of an images table's bytes are pixels, and most readers need none. A light part has the same
row groups as the part in the store, and its address in the schema's metadata.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from pulmospark.core.store_uri import StoreUri, parse_uri
from pulmospark.store.object_file import ObjectFile

HEAVY: Final = "pixels"
"""column that a light part lacks"""
_WHOLE: Final = b"pulmospark.whole"


def write_light(uri: StoreUri, target: Path) -> None:
    """Write a light part of a Parquet file in a store; only its light columns are read.

    Raises:
        ObjectMissingError: there is no such object.
        SourceUnavailableError: the store fails.
    """
    with ObjectFile(uri) as source, pq.ParquetFile(source, pre_buffer=True) as file:
        whole = file.schema_arrow
        light = whole.remove(whole.get_field_index(HEAVY))
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


def whole_of(part: Path) -> Path | StoreUri:
    """The file with all columns: the address that a light part names, or the part itself.

    Raises:
        OSError: it cannot be read.
    """
    metadata = pq.read_schema(part).metadata or {}
    return parse_uri(metadata[_WHOLE].decode()) if _WHOLE in metadata else part
