"""Lists of films as plain text, a row a line, that published splits come with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.layouts import values
from pulmospark.layouts.base import ListingNotes, NoteKind
from pulmospark.layouts.walk import files_like

Row = TypeVar("Row")


def lists_of(folder: Path, name: re.Pattern[str]) -> list[tuple[Path, str | None]]:
    """The lists of a folder, each with the part that it is of, as ``values.split`` tells it.

    Args:
        folder: they lie in.
        name: of a list, whole; its first group is the part.
    """
    found = ((folder / file, name.fullmatch(file)) for file in files_like(folder, name.fullmatch))
    return [(path, values.split(match[1])) for path, match in found if match]


def begins_with_row(path: Path, read: Callable[[str], Row | None], lines: int) -> bool:
    """Whether one of the first lines is a row."""
    with path.open(encoding="utf-8", errors="replace") as file:
        heads = [file.readline(limits.SHEET_HEAD_BYTES) for _ in range(lines)]
    return any(read(head) is not None for head in heads)


def rows_of(
    path: Path, read: Callable[[str], Row | None], notes: ListingNotes
) -> Iterator[tuple[int, Row]]:
    """The rows of a list, each with the number of its line; lines that are none are noted.

    Args:
        path: of the list.
        read: a line's row; ``None`` where it is none.
        notes: told of lines that are none.

    Raises:
        InputError: the file is too large.
    """
    if (size := path.stat().st_size) > limits.METADATA_FILE_BYTES_MAX:
        raise InputError(f"{path}: {size} bytes, over {limits.METADATA_FILE_BYTES_MAX}")
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            row = read(line)
            if row is not None:
                yield number, row
            elif line.strip():
                notes.add(
                    NoteKind.ROWS_WITHOUT_PATH, f"{path.name}, line {number}: {line.strip()}"
                )
