"""Appends to Delta tables with application transactions, on a disk and in a store.

A commit is one file that is written only where none is, so one request in a store and one link on
a disk, and deltalake is not needed. Other writers may commit between two appends: compact, vacuum,
checkpoint. https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.core.delta_log import LOG, entry_bytes, entry_name, first_actions
from pulmospark.core.errors import InputError
from pulmospark.core.safe_text import first_line
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.places import Place

_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]*")
"""of a file, which a log has as it is"""
_ACTIONS = ("protocol", "metaData", "txn", "add", "remove")
_READER, _WRITER = 1, 2
"""versions of Delta's protocol that this module knows"""


@dataclass(frozen=True)
class NewFile:
    """A Parquet file that becomes a part of a table."""

    name: str
    size_bytes: int
    rows: int | None = None
    """lets a reader count without opening it; ``None``: not known"""


class AppendLog:
    """The log of a table to which one application appends batches, numbered from 1.

    Args:
        place: holds the table's folder.
        table: name of that folder.
        application: whose batches they are.
    """

    def __init__(self, place: Place, table: str, application: str) -> None:
        self._place, self._folder, self._application = place, f"{table}/{LOG}", application
        self.version = -1
        """of the table, as last seen; -1: there is none"""
        self.batch = 0
        """the last one that was committed; 0: none"""
        self.table_id = ""
        """UUID of the table"""

    def open(self, schema: pa.Schema, existing: Iterable[NewFile] = ()) -> None:
        """Read the log, or begin it.

        Args:
            schema: of the table.
            existing: files that a new log names.

        Raises:
            InputError: the log is damaged, or needs a newer version of Delta's protocol.
            SourceUnavailableError: the store fails.
        """
        self._follow(self._actions())
        if self.version >= 0:
            return
        first = first_actions(schema, str(uuid.uuid4()), now_ms())
        with contextlib.suppress(ConflictError):  # another process began it
            self._place.create(
                self._key(0), entry_of("CREATE TABLE", [*first, *map(added, existing)])
            )
        self._follow(self._next_actions())

    def append(self, files: Sequence[NewFile], batch: int) -> bool:
        """Commit a batch, if it is not committed yet.

        Args:
            files: its parts, which lie in the table's folder.
            batch: its number.

        Returns:
            Whether this call committed it.

        Raises:
            InputError: another program changed the table's schema or protocol.
            SourceUnavailableError: the store fails.
        """
        transaction = {
            "txn": {"appId": self._application, "version": batch, "lastUpdated": now_ms()}
        }
        data = entry_of("WRITE", [transaction, *map(added, files)])
        while batch > self.batch:
            before = self.version
            try:
                self._place.create(self._key(before + 1), data)
            except ConflictError:
                self._follow(self._next_actions(), changes=False)
                if self.version == before:
                    raise
            else:
                self.version, self.batch = before + 1, batch
                return True
        return False

    def files(self) -> list[str]:
        """Names of the table's files, now.

        Raises:
            InputError: the log is damaged, or names a file outside the table.
            SourceUnavailableError: the store fails.
        """
        names: dict[str, None] = {}
        for _, action in self._actions():
            if "add" in action:
                names[self._name(action["add"])] = None
            elif "remove" in action:
                names.pop(self._name(action["remove"]), None)
        return list(names)

    def _name(self, action: dict[str, Any]) -> str:
        name = unquote(action["path"])
        if not PLAIN_NAME.fullmatch(name):
            raise InputError(
                f"{self._place}/{self._folder}: names {name!r:.200}, which is no file of this "
                "table: choose another --out"
            )
        return name

    def _follow(
        self, actions: Iterable[tuple[int, dict[str, Any]]], *, changes: bool = True
    ) -> None:
        """Take in the log from where it was read last.

        Args:
            actions: with the version of each.
            changes: whether schema and protocol may change.
        """
        for version, action in actions:
            self.version = version
            if "txn" in action and action["txn"]["appId"] == self._application:
                self.batch = max(self.batch, int(action["txn"]["version"]))
            elif "metaData" in action:
                self.table_id = action["metaData"]["id"]
            elif "protocol" in action:
                wanted = action["protocol"]
                if wanted["minReaderVersion"] > _READER or wanted["minWriterVersion"] > _WRITER:
                    changes = False
            if not changes and ("metaData" in action or "protocol" in action):
                raise InputError(
                    f"{self._place}/{self._folder}: another program changed the table's schema, "
                    "or gave it features that a stream does not write: choose another --out"
                )

    def _actions(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """All that the log says, from its last checkpoint on."""
        names = self._place.names(self._folder)
        known = [int(match[1]) for name in names if (match := _CHECKPOINT.fullmatch(name))]
        start = 0
        if known:
            start = known[-1] + 1
            yield from ((known[-1], action) for action in self._checkpoint(known[-1]))
        versions = [int(match[1]) for name in names if (match := _ENTRY.fullmatch(name))]
        versions = [version for version in versions if version >= start]
        if versions != list(range(start, start + len(versions))):
            raise InputError(
                f"{self._place}/{self._folder}: entries are missing: restore them, or choose "
                "another --out"
            )
        data = self._place.read_many(map(self._key, versions))
        for version, entry in zip(versions, data, strict=True):
            yield from ((version, action) for action in self._parsed(version, entry))

    def _checkpoint(self, version: int) -> Iterator[dict[str, Any]]:
        key = f"{self._folder}/{version:020d}.checkpoint.parquet"
        try:
            with pq.ParquetFile(io.BytesIO(self._place.read(key))) as file:
                columns = [name for name in _ACTIONS if name in file.schema_arrow.names]
                for rows in file.iter_batches(columns=columns):
                    for row in rows.to_pylist():
                        yield {name: row[name] for name in columns if row[name]}
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{self._place}/{key}: cannot be read: {first_line(error)}: remove it, if all "
                "entries of the log are there, or choose another --out"
            ) from None

    def _next_actions(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """What was committed since the log was read last."""
        version = self.version
        while True:
            version += 1
            try:
                entry = self._place.read(self._key(version))
            except ObjectMissingError:
                return
            yield from ((version, action) for action in self._parsed(version, entry))

    def _parsed(self, version: int, entry: bytes) -> list[dict[str, Any]]:
        try:
            actions = [json.loads(line) for line in entry.splitlines() if line.strip()]
            if all(isinstance(action, dict) for action in actions):
                return actions
        except ValueError:
            pass
        raise InputError(
            f"{self._place}/{self._key(version)}: is no entry of a Delta log: restore it, or "
            "choose another --out"
        )

    def _key(self, version: int) -> str:
        return f"{self._folder}/{entry_name(version)}"


def entry_of(operation: str, actions: Iterable[dict[str, Any]]) -> bytes:
    """The content of an entry of a log, unlike that of any other call."""
    info = {"timestamp": now_ms(), "operation": operation, "engineInfo": "pulmospark"}
    # The id makes it this process's own: a store may be asked twice and find its own entry there.
    return entry_bytes([{"commitInfo": {**info, "txnId": uuid.uuid4().hex}}, *actions])


def added(file: NewFile) -> dict[str, Any]:
    """The action that makes a file a part of a table."""
    facts: dict[str, Any] = {
        "path": quote(file.name),
        "partitionValues": {},
        "size": file.size_bytes,
        "modificationTime": now_ms(),
        "dataChange": True,
    }
    if file.rows is not None:
        facts["stats"] = json.dumps({"numRecords": file.rows})
    return {"add": facts}


def now_ms() -> int:
    """Since 1970, milliseconds."""
    return int(time.time() * 1000)
