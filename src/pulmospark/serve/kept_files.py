"""Uploaded files and heat maps that are kept for viewing: bounded, and named by their content.

A file's name is the SHA-256 of its bytes, a heat map's the id of its result, both made here. No
name, path or identifier from outside is part of a path.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from pulmospark.core.files import disk_errors

_ID = re.compile(r"[0-9a-f]{32,64}")


class KeptFiles:
    """Files in a folder, by id.

    Args:
        folder: is created, readable by its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, file_id: str, data: bytes) -> None:
        """Keep a file; one that is there stays.

        Raises:
            PlatformError: no space.
        """
        path = self._path(file_id)
        if path.exists():
            return
        with disk_errors(path):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            aside = path.with_name(f".{secrets.token_hex(8)}.part")
            try:
                aside.write_bytes(data)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)

    def get(self, file_id: str) -> bytes | None:
        """A file's bytes; ``None``: it is not kept any more."""
        with contextlib.suppress(FileNotFoundError):
            return self._path(file_id).read_bytes()
        return None

    def drop(self, file_ids: Iterable[str]) -> None:
        """Remove files; those that are gone are not missed."""
        for file_id in file_ids:
            self._path(file_id).unlink(missing_ok=True)

    def ids(self) -> Iterator[str]:
        """All files; leftovers of a kill are removed on the way."""
        for folder in self._folder.iterdir():
            for path in folder.iterdir() if folder.is_dir() else ():
                if _ID.fullmatch(path.name):
                    yield path.name
                else:
                    path.unlink(missing_ok=True)

    def _path(self, file_id: str) -> Path:
        if not _ID.fullmatch(file_id):
            raise ValueError("not an id of this service")
        return self._folder / file_id[:2] / file_id
