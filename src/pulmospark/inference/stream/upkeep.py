"""Keeps a stream's tables quick to open: checkpoints of their logs, and larger files."""

from __future__ import annotations

from collections.abc import Sequence

from pulmospark.core import stream_limits as limits
from pulmospark.store.delta import storage_options
from pulmospark.store.places import DiskPlace, Place, StorePlace


def keep_up(place: Place, tables: Sequence[str]) -> None:
    """Write checkpoints and, where readers use the log, make larger files of small ones.

    On a disk the tables are also read without the log: there only the stream's own table is
    compacted. Nothing happens without deltalake, and nothing that fails here ends a stream: a
    commit that was faster comes first, and the next time is soon.

    Args:
        place: of the output.
        tables: their folders.
    """
    try:
        from deltalake import DeltaTable  # noqa: PLC0415 - of an extra
        from deltalake.exceptions import DeltaError  # noqa: PLC0415
    except ImportError:
        return
    for table in tables:
        try:
            if isinstance(place, StorePlace):
                opened = DeltaTable(
                    str(place.uri / table), storage_options=storage_options(place.uri)
                )
            else:
                assert isinstance(place, DiskPlace)
                opened = DeltaTable(place.folder / table)
            if not place.renames or table.startswith("_"):
                opened.optimize.compact(target_size=limits.STREAM_COMPACT_BYTES)
                opened.update_incremental()
            opened.create_checkpoint()
        except (DeltaError, OSError):
            continue
