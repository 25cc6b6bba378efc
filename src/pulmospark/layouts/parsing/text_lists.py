"""Published splits as plain text lists of images, one row per line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.layouts.base import ListingNotes, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.walk import files_like

Row = TypeVar("Row")


def lists_of(folder: Path, name: re.Pattern[str]) -> list[tuple[Path, str | None]]:
    """The lists in a folder, each with its split according to ``values.split``.

    Args:
        folder: of the lists.
        name: pattern for a whole file name; its first group is the split.
    """
    matches = (
        (folder / file, name.fullmatch(file)) for file in files_like(folder, name.fullmatch)
    )
    return [(path, values.split(match[1])) for path, match in matches if match]


def begins_with_row(path: Path, read: Callable[[str], Row | None], lines: int) -> bool:
    """Whether one of the first lines is a row."""
    with path.open(encoding="utf-8", errors="replace") as file:
        heads = [file.readline(limits.SHEET_HEAD_BYTES) for _ in range(lines)]
    return any(read(head) is not None for head in heads)


def rows_of(
    path: Path, read: Callable[[str], Row | None], notes: ListingNotes
) -> Iterator[tuple[int, Row]]:
    """The rows of a list, each with its line number; other lines are noted.

    Args:
        path: of the list.
        read: parses a line; ``None`` if it is not a row.
        notes: collects lines that are not rows.

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
