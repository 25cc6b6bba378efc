"""The files named by a list (CSV, TSV or Parquet) for a prediction.

Paths are relative to the list's folder. A path that does not exist is matched to a file of that
folder, if exactly one fits; see :mod:`pulmospark.layouts.parsing.path_matching`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core.errors import InputError
from pulmospark.core.key_set import TextSet
from pulmospark.core.safe_text import first_line
from pulmospark.layouts.base import ListingNotes, NoteKind
from pulmospark.layouts.parsing.columns import GUESSES
from pulmospark.layouts.parsing.path_matching import cell_paths, match_rows
from pulmospark.layouts.parsing.sheet import is_drive, key_of, open_sheet, plain_name
from pulmospark.layouts.walk import absolute
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri

SHEET_ENDS = (".csv", ".tsv")
TABLE_END = ".parquet"

# Tables by pulmospark and Spark that have both columns keep the path in uri.
_PATH_COLUMNS = tuple(dict.fromkeys(("uri", *GUESSES["path"])))
_ROWS_AT_ONCE = 65_536


def files_of_sheet(sheet: Path, notes: ListingNotes) -> Iterator[Path | StoreUri]:
    """Absolute paths and addresses named by a list, in its order; those matched by name follow.

    A path that matches no file is yielded as it is: it becomes a reject. Memory holds 8 bytes of
    each path that is there, and each that is not.

    Args:
        sheet: absolute.
        notes: receives the column used, how rows were matched, and which rows name no path.

    Raises:
        InputError: the list cannot be read, none of its columns is known to hold paths, or a
            path is an address that cannot be opened.
    """
    folder, roots = sheet.parent, (str(sheet.parent), str(sheet.parent.resolve()))
    taken = TextSet()
    missing: dict[str, Path] = {}
    for cell in _cells_of(sheet, notes):
        if is_store_uri(cell):
            yield parse_uri(cell.strip(), error=InputError)
            continue
        try:
            texts = cell_paths(cell)
        except InputError as error:
            raise InputError(f"{sheet}: {error.message}") from error
        if not texts:
            notes.add(NoteKind.ROWS_WITHOUT_PATH, f"{sheet.name}: {cell}")
            continue
        spelled = dict.fromkeys([*texts, *(text.replace("\\", "/") for text in texts)])
        paths = [absolute(folder / text) for text in spelled]
        there = next((path for path in paths if os.path.lexists(path)), None)
        key = key_of(texts[0], roots) or _foreign(texts[0])
        if there is not None:
            if key is not None:
                taken.add(key)
            yield there
        elif key is None:
            yield paths[0]
        else:
            missing.setdefault(key, paths[0])
    if not missing:
        return
    matching = match_rows(missing.keys(), folder, notes, taken)
    file_of = {key: matching.spelled.get(path, path) for path, key in matching.files.items()}
    for key, path in missing.items():
        if key in matching.reasons:
            notes.add(NoteKind.ROWS_WITHOUT_FILE, f"{key}: {matching.reasons[key]}")
        yield folder / file_of[key] if key in file_of else path


def _foreign(text: str) -> str | None:
    """A path of another machine; ``None``: it is local, or leaves the list's folder."""
    plain = text.replace("\\", "/")
    return plain if plain.startswith("/") or is_drive(plain) else None


def _cells_of(sheet: Path, notes: ListingNotes) -> Iterator[str]:
    if sheet.name.lower().endswith(TABLE_END):
        yield from _cells_of_parquet(sheet, notes)
        return
    table = open_sheet(sheet)
    column = table.column(*_PATH_COLUMNS)
    if column is None:
        raise _no_path_column(sheet, table.columns)
    notes.columns["path"] = (column, True)
    for _, cell in table.rows():
        yield cell(column)


def _cells_of_parquet(sheet: Path, notes: ListingNotes) -> Iterator[str]:
    schema = schema_of(sheet)
    plain = {plain_name(name): name for name in reversed(schema.names)}
    column = next((plain[n] for n in map(plain_name, _PATH_COLUMNS) if n in plain), None)
    if column is None or not _is_text(schema.field(column).type):
        raise _no_path_column(sheet, schema.names)
    notes.columns["path"] = (column, True)
    with pq.ParquetFile(sheet) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[column]):
            yield from (text or "" for text in batch.column(0).to_pylist())


def schema_of(path: Path) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        InputError: the file is not Parquet.
    """
    try:
        return pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {first_line(error)}") from error


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _no_path_column(sheet: Path, columns: Iterable[str]) -> InputError:
    has = ", ".join(columns)[:200]
    return InputError(f"{sheet}: none of its columns {has} holds paths: name one 'path'")
