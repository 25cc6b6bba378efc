"""Tables as pandas: ``read_table``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks.parquet_files import open_whole
from pulmospark.chunks.parts import parts_of, read_part
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.locations import PathLike
from pulmospark.core.store_uri import place_of_text
from pulmospark.core.suggestions import did_you_mean
from pulmospark.experiment.run_folder import local_copy, table_of_run
from pulmospark.store.light_parts import whole_of

if TYPE_CHECKING:
    import pandas as pd


def read_table(table: PathLike, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table as pandas; what the columns hold is in the reference of tables.

    Args:
        table: folder or file of the table; within a run's folder its name is enough:
            ``runs/mine/images``, ``rejects``, ``manifest``, ``cohort``, ``expanded``, ``scores``,
            ``predictions``, ``metrics``, ``units``, ``audits``, ``distances``. A run in a store is
            copied to this machine's cache.
        columns: those to read; ``None``: all but ``pixels``, which is read where it is named:
            size x size uint8 grey levels a row, row-major, as bytes.

    Returns:
        A row for each row of the table, in its order.

    Raises:
        InputError: there is no such table.
        UsageError: it has no such column.

    Example:
        >>> cohort = ps.read_table("runs/mine/cohort", columns=["label", "fold"])
        >>> cohort.groupby("label")["fold"].nunique().tolist()
        [2, 2, 2]
    """
    place = table_of_run(local_copy(place_of_text(os.fspath(table))).expanduser())
    parts = [place] if place.is_file() else parts_of(place)
    if not parts:
        raise InputError(f"{table}: no such table: specify a folder of Parquet files, or a file")
    with open_whole(parts[0]) as file:
        names = file.schema_arrow.names
    for name in columns or ():
        if name not in names:
            raise UsageError(
                f"{table}: has no column {name!r}{did_you_mean(name, names)}; its columns are "
                f"{', '.join(names)}"
            )
    wanted = [name for name in names if name != "pixels"] if columns is None else list(columns)
    if "pixels" in wanted:
        rows = pa.concat_tables([read_part(whole_of(part), wanted) for part in parts])
    else:
        rows = pq.read_table(parts, columns=wanted)
    frame: pd.DataFrame = rows.to_pandas()
    return frame
