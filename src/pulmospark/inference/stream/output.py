"""Where a stream writes: checked, locked, and opened with what a killed one has left.

On a disk the output's folder also holds the stream's own files, in ``_stream``. In a store it
holds the tables and the record; the index and the network lie in this machine's cache, and are
rebuilt where they are missing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pulmospark.chunks import write_empty
from pulmospark.core import files
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.hashing import value_id
from pulmospark.core.locks import hold_lock
from pulmospark.core.machine import cache_folder
from pulmospark.core.safe_text import shown_json
from pulmospark.inference.stream.ledger import DamagedStateError, StreamState
from pulmospark.inference.stream.store import INNER, SCHEMAS, StreamStore
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.places import Place, place_of, sync
from pulmospark.store.probe import is_probe, probe
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

RECORD = "stream.json"
"""marks a folder as the output of a stream"""
STATE = "state.sqlite"
_CACHED = "streams"


def _ignore(step: str) -> None:
    del step


def work_folder(target: Path | StoreUri) -> Path:
    """Folder on this machine for everything but tables and record; not created here."""
    if isinstance(target, StoreUri):
        return cache_folder() / _CACHED / value_id([str(target)])
    return target / INNER


@contextlib.contextmanager
def open_output(
    target: Path | StoreUri,
    identity: Mapping[str, Any],
    record: Callable[[], Mapping[str, Any]],
    *,
    step: Callable[[str], None] = _ignore,
) -> Iterator[StreamStore]:
    """Lock and open a stream's output, and publish what a killed stream has committed.

    Args:
        target: absolute path, or address; created if missing.
        identity: what all rows of the tables have in common, such as the bundle's id.
        record: returns the rest of the output's record; called when it is created.
        step: called at each step of a commit, for tests that end the process there.

    Raises:
        UsageError: it is not a stream's output, or another stream of this machine writes to it.
        InputError: a part of a table is missing, or a log is damaged.
        PlatformError: no space, no right to write there, or the store ignores conditional writes.
        SourceUnavailableError: the store fails.
    """
    check_output(target, identity)
    work = work_folder(target)
    here = target if isinstance(target, Path) else work
    with files.disk_errors(here):
        (work / "staged").mkdir(parents=True, exist_ok=True)
    with _locked(work / "lock", target):
        check_output(target, identity)
        if isinstance(target, StoreUri):
            probe(open_store(target), target.prefix)
        place = place_of(target)
        with files.disk_errors(here):
            if isinstance(target, Path):
                _prepare(target)
            if not _has_record(place):
                text = json.dumps(
                    {"stream": dict(identity), **record()}, indent=2, allow_nan=False
                )
                place.write(RECORD, (shown_json(text) + "\n").encode())
            state = _state_of(work / STATE)
        try:
            store = StreamStore(place, state, step)
            store.open()
            yield store
        finally:
            state.close()


def check_output(target: Path | StoreUri, identity: Mapping[str, Any] | None = None) -> None:
    """Check that a folder is unused, or a stream's output.

    Args:
        target: of the output.
        identity: of the stream; ``None``: not known yet.

    Raises:
        UsageError: it is not a stream's output, or belongs to another bundle.
        SourceUnavailableError: the store fails.
    """
    if (stream := _record(target)) is not None:
        if identity is not None and stream.get("model_id") != identity["model_id"]:
            raise UsageError(
                f"{target}: belongs to the bundle {str(stream.get('model_id'))[:12]}, not to "
                f"{identity['model_id'][:12]}: choose another --out"
            )
    elif _holds_other(target):
        raise UsageError(f"{target}: is not a stream output folder: choose another --out")


def check_free(target: Path | StoreUri) -> None:
    """Check that no stream of this machine is writing to an output.

    Raises:
        UsageError: a stream is writing to it.
    """
    lock = work_folder(target) / "lock"
    if lock.is_file():
        with _locked(lock, target):
            pass


def _record(target: Path | StoreUri) -> dict[str, Any] | None:
    if isinstance(target, Path):
        path = target / RECORD
        record = files.read_json(path) if path.is_file() else None
    else:
        try:
            record = json.loads(open_store(target).get((target / RECORD).key))
        except ObjectMissingError:
            record = None
        except ValueError as error:
            raise InputError(f"{target / RECORD}: cannot be read as JSON: {error}") from error
    return None if record is None else dict(record.get("stream", {}))


def _has_record(place: Place) -> bool:
    try:
        place.size(RECORD)
    except ObjectMissingError:
        return False
    return True


def _holds_other(target: Path | StoreUri) -> bool:
    """Whether there is something that no stream has left that was killed at its start."""
    ours = {INNER, *SCHEMAS}
    if isinstance(target, Path):
        if not target.exists():
            return False
        return not target.is_dir() or bool({path.name for path in target.iterdir()} - ours)
    prefix = target.prefix
    listed = (entry.uri for entry in open_store(target).list(prefix))
    return any(
        uri.key[len(prefix) :].partition("/")[0] not in ours for uri in listed if not is_probe(uri)
    )


@contextlib.contextmanager
def _locked(path: Path, target: Path | StoreUri) -> Iterator[None]:
    with files.disk_errors(target if isinstance(target, Path) else path.parent):
        path.touch()
    with hold_lock(path, target, writer="stream"):
        yield


def _prepare(folder: Path) -> None:
    """Tables with columns from the start, for readers without the log; parts left by 0.2."""
    for table, schema in SCHEMAS.items():
        (folder / table).mkdir(exist_ok=True)
        if not (folder / table / "empty.parquet").is_file():
            write_empty(schema, folder / table)
    staged = folder / INNER / "staged"
    if (folder / INNER / STATE).is_file() and any(staged.iterdir()):
        with contextlib.suppress(DamagedStateError):
            _publish_earlier(folder, staged)


def _publish_earlier(folder: Path, staged: Path) -> None:
    """Publish what version 0.2 had committed in its state alone when it was killed."""
    state = StreamState(folder / INNER / STATE)
    try:
        for entry, tables in state.unpublished():
            for table in tables:
                name = f"{table}-{entry:010d}.parquet"
                if (staged / name).is_file():
                    os.replace(staged / name, folder / table / name)  # noqa: PTH105
                    sync(folder / table)
            state.forget(entry)
    finally:
        state.close()


def _state_of(path: Path) -> StreamState:
    """The state; if lost or damaged, a new one, which learns from the tables."""
    if path.is_file():
        # Only damage: a sound state on a faulty disk knows more than the tables.
        with contextlib.suppress(DamagedStateError):
            return StreamState(path)
    for end in ("-wal", "-shm", ""):  # SQLite would use the log of another one
        Path(f"{path}{end}").unlink(missing_ok=True)
    return StreamState(path)
