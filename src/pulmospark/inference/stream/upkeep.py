"""Keeps a stream's tables quick to open: checkpoints of their logs, and larger files."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence

from pulmospark.core import stream_limits as limits
from pulmospark.core.extras import how_to_install
from pulmospark.store.delta import storage_options
from pulmospark.store.places import DiskPlace, Place, StorePlace

_LOG = logging.getLogger(__name__)


def warn_without_checkpoints(place: Place) -> None:
    """Warn where nothing writes checkpoints: each start then reads all entries of the logs.

    Args:
        place: of the output; one in a store has deltalake, which comes with the same extra.
    """
    if importlib.util.find_spec("deltalake") is None:
        _LOG.warning(
            "%s: without deltalake the logs of the tables get no checkpoints, so a start, and who "
            "reads the tables by their logs, reads an entry for each micro-batch: %s",
            place,
            how_to_install("store"),
        )


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
