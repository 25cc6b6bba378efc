"""A run folder in a store, and its copy on this machine, on which the stages work.

The copy is brought up to date by sizes and etags before the work; afterwards the units that
changed are published: tables as Delta commits, files as objects, the record last
(:mod:`pulmospark.store.published`). What was made here and not published yet, because the process
was killed or the store failed, stays in the copy and is published by the next command.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pulmospark.core import files, mirror_limits
from pulmospark.core.delta_log import LOG, schema_of, write_log
from pulmospark.core.errors import InputError, PlatformError, PulmosparkError
from pulmospark.core.hashing import value_id
from pulmospark.core.machine import cache_folder
from pulmospark.core.store_uri import StoreUri
from pulmospark.store.folders import plain_name, upload
from pulmospark.store.lease import Lease
from pulmospark.store.light_parts import has_pixels, whole_of, write_light
from pulmospark.store.prefetch import under_way
from pulmospark.store.publish import commit_table, files_of_version
from pulmospark.store.published import (
    NAME,
    Published,
    RunRecord,
    Unit,
    is_plain_path,
    read_published,
    unit_of,
    writing,
)
from pulmospark.store.store import in_parallel, open_store

MIRRORS = "mirrors"
"""folder of the cache with copies of run folders, by address"""
SECRET = "salt.key"
"""file of a run's folder that never leaves this machine, and is never forgotten"""
_STATE = "state.json"
_UNPUBLISHED = "unpublished"
"""file next to a copy that holds, or may hold, results which are nowhere else"""

Stamp = list[int]
"""size, time and number of a file on this machine: it is unchanged while they are"""


class _Listed(NamedTuple):
    """A file as a record or a table's log lists it."""

    size_bytes: int
    etag: str | None
    """``None``: of a table, whose files never change"""
    light: bool = False
    """without its pixels"""


class Mirror:
    """The copy of a run folder.

    Attributes:
        address: of the run folder in the store.
        folder: of the copy.
    """

    def __init__(self, address: StoreUri) -> None:
        self.address = address = StoreUri(address.scheme, address.bucket, address.key.rstrip("/"))
        home = cache_folder() / MIRRORS / value_id([str(address)])
        self.folder = home / (plain_name(address.name) or "run")
        self._state_path, self._flag = home / _STATE, home / _UNPUBLISHED
        self._lease: Lease[RunRecord] | None = None

    def fetch(self, only: str | None = None) -> bool:
        """Bring the copy, or one unit of it, up to date; whether there is a run in the store.

        A unit that is the same in the store as when it was last copied or published stays as it
        is here: it may be newer. One that another machine published since replaces it.

        Raises:
            InputError: the record, or what it lists, is damaged or gone.
            SourceUnavailableError: the store fails.
            PlatformError: no space, or no permission to write to the cache.
        """
        known = (
            read_published(self.address)
            if self._lease is None
            else (self._lease.leased.record, "")
        )
        self._take(known[0] if known else Published(), only)
        return known is not None

    def _take(self, record: Published, only: str | None) -> None:
        state = self._state()
        for name in [name for name in state if name not in record.units]:
            _remove(self.folder / name)
            del state[name]
            self._save(state)
        with files.disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            published = {n: unit.model_dump(mode="json") for n, unit in record.units.items()}
            old = [n for n in published if published[n] != state.get(n, {}).get("published")]
            old = [name for name in old if only in {None, name}]
            one_at_a_time = threading.Lock()

            def copy(name: str) -> None:
                self._copy(name, record.units[name], state.get(name, {}))
                with one_at_a_time:
                    local = _stamps(self.folder, name)
                    state[name] = {"published": published[name], "local": local}
                    self._save(state)

            in_parallel(copy, old)

    def _copy(
        self, name: str, unit: Unit, before: dict[str, Any], light_bytes: int | None = None
    ) -> None:
        """Copy a unit from the store, except for files that are here already.

        Args:
            name: of the unit.
            unit: as it is published.
            before: the copy's state.
            light_bytes: of a table, above which its pixels stay there; ``None``: the limit.
        """
        most = mirror_limits.COPIED_TABLE_BYTES_MAX if light_bytes is None else light_bytes
        objects = {path: _Listed(*facts) for path, facts in unit.files.items()}

        def parts_of(table: str) -> dict[str, int]:
            return files_of_version(self.address / table, unit.tables[table])

        for table, parts in zip(unit.tables, in_parallel(parts_of, unit.tables), strict=True):
            light = sum(parts.values()) > most and has_pixels(
                self.address / table / next(iter(parts))
            )
            for part, size in parts.items():
                if not is_plain_path(part):
                    raise InputError(f"{self.address / table}: {part!r:.200}: not a part of ours")
                objects[f"{table}/{part}"] = _Listed(size, None, light)
        target = self.folder / name
        whole = files.whole_file if name in objects else files.whole_folder
        with whole(target) as aside:

            def copy(path: str) -> None:
                self._copy_one(aside / path[len(name) + 1 :], path, objects[path], before)

            in_parallel(copy, objects)
            for table in unit.tables:
                here = aside / table[len(name) + 1 :]
                write_log(here, schema_of(here))

    def _copy_one(self, target: Path, path: str, listed: _Listed, before: dict[str, Any]) -> None:
        size, etag, light = listed
        uri = self.address / path
        target.parent.mkdir(parents=True, exist_ok=True)
        known = before.get("published", {}).get("files", {}).get(path)
        here = self.folder / path
        same = etag is None or (known is not None and known == [size, etag])
        same = same and here.is_file() and before.get("local", {}).get(path) == _stamp(here)
        if same and not (light and whole_of(here) == here):
            files.link_or_copy(here, target)
            return
        if light:
            write_light(uri, target)
            return
        now = open_store(uri).save(uri.key, target)
        if etag is not None and now != etag:
            raise InputError(
                f"{uri}: is not what {NAME} lists: another process is publishing, or the object "
                "was replaced by hand: rerun the command, or the stage that writes it"
            )

    def lighten(self, table: str) -> None:
        """Leave the pixels of a table in the store, for workers that share nothing else.

        To be called by the writer. What is not published yet is published first.

        Args:
            table: path in the run's folder; nothing is done where it is light already.

        Raises:
            ConflictError: another process took over.
            SourceUnavailableError: the store fails.
        """
        assert self._lease is not None
        name = unit_of(table)
        parts = (whole_of(part) for part in (self.folder / table).glob("*.parquet"))
        if all(isinstance(whole, StoreUri) for whole in parts):
            return
        self._publish(self._lease)
        state = self._state()
        unit = self._lease.leased.record.units[name]
        self._copy(name, unit, state[name], light_bytes=0)
        state[name]["local"] = _stamps(self.folder, name)
        self._save(state)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer of the run folder; what changed is published at the end.

        May be entered again by the process that holds it, as by a stage of a run: each end
        publishes. After an error nothing is published. Messages name the run's address in the
        place of the copy's path, but for what fails on this machine, such as a full disk.

        Raises:
            UsageError: another process is writing there.
            PlatformError: as :meth:`fetch` and :meth:`publish`.
        """
        with self._own_names():
            if self._lease is not None:
                yield
                self._publish(self._lease)
                return
            with writing(self.address) as lease:
                self._lease = lease
                try:
                    self.fetch()
                    self._flag.touch()
                    _forget_oldest(self._flag.parent)
                    yield
                    self._publish(lease)
                    self._flag.unlink(missing_ok=True)
                finally:
                    self._lease = None

    @contextlib.contextmanager
    def _own_names(self) -> Iterator[None]:
        try:
            yield
        except PlatformError:
            raise
        except PulmosparkError as error:
            if (message := self.shown(error.message)) == error.message:
                raise
            raise type(error)(message, detail=error.detail) from error

    def shown(self, text: str) -> str:
        """A text with the run's address in the place of the copy's path."""
        return text.replace(str(self.folder), str(self.address).rstrip("/"))

    def _publish(self, lease: Lease[RunRecord]) -> None:
        state, record = self._state(), lease.leased.record
        entries = {name: _stamps(self.folder, name) for name in _entries(self.folder)}
        stamps = {name: stamped for name, stamped in entries.items() if stamped}
        changed = [name for name in stamps if stamps[name] != state.get(name, {}).get("local")]
        gone = [name for name in state if name not in stamps]
        if not changed and not gone:
            return
        for name in (*changed, *gone):
            state.pop(name, None)
        self._save(state)  # from here on the copy's are the newest
        kept = {n: unit for n, unit in record.units.items() if n not in {*changed, *gone}}
        lease.write(lease.leased.with_units(kept))
        units = dict(zip(changed, in_parallel(self._upload, changed), strict=True))
        lease.write(lease.leased.with_units({**kept, **units}))
        for name, unit in units.items():
            published = unit.model_dump(mode="json") if self._is_named(unit) else {}
            state[name] = {"published": published, "local": stamps[name]}
        self._save(state)
        self._delete(record, units, gone)

    def _is_named(self, unit: Unit) -> bool:
        """Whether light parts name files of the version; a commit copies those it had before."""
        for table, version in unit.tables.items():
            wholes = map(whole_of, (self.folder / table).glob("*.parquet"))
            stored = {whole.name for whole in wholes if isinstance(whole, StoreUri)}
            if stored and not stored <= files_of_version(self.address / table, version).keys():
                return False
        return True

    def _upload(self, name: str) -> Unit:
        tables, plain = _content(self.folder, name)
        versions = under_way(
            in_parallel, lambda path: commit_table(self.folder / path, self.address / path), tables
        )
        etags = upload(
            self.address, [(self.folder / path, (self.address / path).key) for path in plain]
        )
        return Unit(
            files={
                path: ((self.folder / path).stat().st_size, etag or "")
                for path, etag in zip(plain, etags, strict=True)
            },
            tables=dict(zip(tables, versions.result(), strict=True)),
        )

    def _delete(self, before: Published, units: dict[str, Unit], gone: list[str]) -> None:
        """Delete files that are in no unit any more; tables keep their versions."""
        left = [
            (self.address / path).key
            for name in (*units, *gone)
            for path in before.units.get(name, Unit()).files
            if path not in units.get(name, Unit()).files
        ]
        in_parallel(open_store(self.address).delete, left)

    def _state(self) -> dict[str, Any]:
        if not self._state_path.is_file():
            return {}
        state: dict[str, Any] = json.loads(self._state_path.read_text(encoding="utf-8"))
        return state

    def _save(self, state: dict[str, Any]) -> None:
        files.write_text(self._state_path, json.dumps(state))


def run_around(uri: StoreUri) -> tuple[Mirror, Path] | None:
    """The run folder that an address lies in, or is, and the address's place in its copy.

    Args:
        uri: of a run folder, or of something at most two folders below it, as its ``bundle`` or
            its table ``tables/images``.

    Raises:
        SourceUnavailableError: the store fails.
    """
    inside: list[str] = []
    for _ in range(3):
        if read_published(uri) is not None:
            mirror = Mirror(uri)
            return mirror, mirror.folder.joinpath(*inside)
        if not uri.key:
            return None
        inside.insert(0, uri.name)
        uri = uri.parent
    return None


def _entries(folder: Path) -> Iterator[str]:
    """Names of what may be published, as deep as units are."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == SECRET:
            continue
        if unit_of(f"{path.name}/x") == path.name or path.is_file():
            yield path.name
        else:
            inner = sorted(path.iterdir())
            yield from (f"{path.name}/{p.name}" for p in inner if not p.name.startswith("."))


def _content(folder: Path, name: str) -> tuple[list[str], list[str]]:
    """The Delta tables of a unit, and its other files: their paths in the run's folder."""
    if (folder / name).is_file():
        return [], [name]
    tables, plain = [], []
    for root, folders, names in os.walk(folder / name):
        here = Path(root).relative_to(folder).as_posix()
        if LOG in folders:
            tables.append(here)
            folders.clear()
            continue
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        plain += [f"{here}/{n}" for n in sorted(names) if not n.startswith(".")]
    return sorted(tables), plain


def _stamps(folder: Path, name: str) -> dict[str, Stamp]:
    """Each file of a unit, those of its tables included, as it is now."""
    tables, plain = _content(folder, name)
    parts = [
        f"{table}/{part.name}"
        for table in tables
        for part in sorted((folder / table).glob("*.parquet"))
    ]
    return {path: _stamp(folder / path) for path in (*plain, *parts)}


def _stamp(path: Path) -> Stamp:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ino]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _forget_oldest(home: Path) -> None:
    """Empty the copies used longest ago, but for secrets and what is nowhere else."""
    os.utime(home)
    others = [path for path in home.parent.iterdir() if path != home and _is_forgettable(path)]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for other in others[mirror_limits.MIRRORS_MAX - 1 :]:
        (other / _STATE).unlink(missing_ok=True)
        for copy in (path for path in other.iterdir() if path.is_dir()):
            for path in copy.iterdir():
                if path.name != SECRET:
                    _remove(path)


def _is_forgettable(home: Path) -> bool:
    return (home / _STATE).is_file() and not (home / _UNPUBLISHED).exists()
