"""A listing in files that training processes map into memory.

Built by each process, a listing would take about 150 bytes per image of the cohort in each. So
the driver builds it once; the system can reclaim mapped pages at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks.parquet_files import Place, place_of
from pulmospark.chunks.parts import read_part
from pulmospark.core.arrays import Ints
from pulmospark.training.dataset import Listing, Piece

_LABELS, _ROWS, _IMAGES = "labels.npy", "rows.npy", "images.npy"
_KEYS, _PIECES = "keys.arrow", "pieces.parquet"


def keep_listing(listing: Listing, folder: Path, named: Callable[[Place], str] = str) -> None:
    """Write a listing into ``folder``, replacing an earlier one.

    Args:
        listing: what to write.
        folder: where to.
        named: place of a part -> where the processes find it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    empty = np.zeros(0, np.int64)
    pieces = listing.pieces
    np.save(folder / _LABELS, listing.labels)
    np.save(folder / _ROWS, np.concatenate([empty, *(piece.rows for piece in pieces)]))
    np.save(folder / _IMAGES, np.concatenate([empty, *(piece.images for piece in pieces)]))
    # In one batch: Arrow takes values from it without copying the others.
    keys = listing.keys.cast(pa.large_string()).combine_chunks()
    batch = pa.record_batch({"key": keys})
    with pa.OSFile(str(folder / _KEYS), "wb") as file, pa.ipc.new_file(file, batch.schema) as ipc:
        ipc.write_batch(batch)
    places = {path: named(path) for path in {piece.path for piece in pieces}}
    table = pa.table(
        {
            "path": pa.array([places[piece.path] for piece in pieces], pa.string()),
            "group": pa.array([piece.group for piece in pieces], pa.int64()),
            "images": pa.array([len(piece.images) for piece in pieces], pa.int64()),
            "group_rows": pa.array([piece.group_rows for piece in pieces], pa.int64()),
        }
    )
    about = {"size": str(listing.size)}
    pq.write_table(table.replace_schema_metadata(about), folder / _PIECES)


def kept_listing(folder: Path) -> Listing:
    """Open a listing of :func:`keep_listing`; only the pieces are read at once."""
    rows, images = _mapped(folder / _ROWS), _mapped(folder / _IMAGES)
    table = read_part(folder / _PIECES)
    pieces, start = [], 0
    columns = (table[name].to_pylist() for name in ("path", "group", "images", "group_rows"))
    for path, group, count, group_rows in zip(*columns, strict=True):
        end = start + count
        some = rows[start:end], images[start:end]
        pieces.append(Piece(place_of(path), group, *some, group_rows))
        start = end
    keys = pa.ipc.open_file(pa.memory_map(str(folder / _KEYS))).read_all()["key"]
    size = int(table.schema.metadata[b"size"])
    return Listing(size, _mapped(folder / _LABELS), keys, tuple(pieces))


def _mapped(path: Path) -> Ints:
    return np.asarray(np.load(path, mmap_mode="r"))
