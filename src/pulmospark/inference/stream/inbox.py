"""The folder that images land in: what is new there, and whether it is whole yet.

A file is taken when it is a regular file with an image's name, or with a name that says nothing
and an image's content, is not hidden, and has had the same size and time for a while. A folder is
listed anew only when its own time has changed; all files are looked at again, a few at a time,
every ``rescan_s`` seconds.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pulmospark.config.stream import StreamSettings
from pulmospark.core import limits
from pulmospark.core.arrays import Ints
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import RejectReason
from pulmospark.inference.stream.key_set import KeySet
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.layouts.notes import printable
from pulmospark.layouts.walk import (
    content_is_image,
    is_hidden,
    is_image_name,
    may_hold_image,
)

_RACY_NS = 2_000_000_000  # some file systems keep times in steps of two seconds
_SWEEP_SLICE_S = 0.02  # of one look
_SWEEP_SHARE = 0.05  # of the time, at most
_BLOCK = 512
_CANDIDATES_MAX = 20_000
_AGAIN_AFTER_S = (0.2, 2.0)
_NEVER = (0, 0)
_CLOSED = (-1, -1)  # of a folder that may not be listed: no time of its own tells when it may
_NO_CONTENT = "its name says nothing of what it is, and its content is no image's"
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


@dataclass(slots=True)
class _Candidate:
    """A file that may be taken soon."""

    path: str
    size_bytes: int
    modified_ns: int
    landed_ns: int
    since: float
    """when it was first seen with this size and time, by the clock that never goes back"""
    not_before: float
    """when it is looked at next"""
    lay_there: bool
    """whether it was there before it could be seen to land, or to change"""
    wait_s: float = _AGAIN_AFTER_S[0]
    """after another try that fails"""


class Inbox:
    """What lands below a folder.

    Args:
        folder: absolute; it and the folders in it are watched.
        settings: of the stream.
        taken: keys (``Arrival.key``) of the files that were taken before.

    Raises:
        InputError: the folder cannot be listed.
    """

    def __init__(self, folder: Path, settings: StreamSettings, taken: Ints) -> None:
        self._root = str(folder).rstrip("/") or "/"
        self._settings = settings
        self._taken = KeySet(taken)
        self._known = KeySet()  # of path and inode: spares a look at the file itself
        self._listed: dict[str, tuple[int, int]] = {}  # folder -> its time, when it was listed
        self._candidates: dict[str, _Candidate] = {}
        self._given: dict[str, _Candidate] = {}
        self._sweep: Iterator[None] | None = None
        self._sweep_at = time.monotonic() + settings.rescan_s
        self._sweep_took_s = 0.0
        self._next = 0.0
        self._seen_all = False
        self._closed: set[str] = set()
        self._too_deep = False
        self._untold: list[str] = []
        self._no_images = KeySet()  # files that are none by their content
        self._ignored: Counter[str] = Counter()  # reason -> files told

    @property
    def waiting(self) -> int:
        """Files that were found and are not taken yet; more may be found when they are."""
        return len(self._candidates)

    @property
    def drained(self) -> bool:
        """Whether all folders were listed and every file found has its row."""
        return self._all_listed() and not (self._candidates or self._given)

    @property
    def pause_s(self) -> float:
        """Seconds until the next look is due."""
        return max(self._next - time.monotonic(), 0.0)

    def left_out(self) -> list[str]:
        """What is not watched or taken and was not told yet, a line each, with the reason.

        Of files that are ignored for one reason, an extension say, the first are told.
        """
        told, self._untold = self._untold, []
        return told

    def look(self) -> None:
        """Look for files that are new.

        Raises:
            InputError: the inbox itself cannot be listed.
        """
        begun = time.monotonic()
        if len(self._candidates) < _CANDIDATES_MAX:
            for folder in [self._root, *(f for f in self._listed if f != self._root)]:
                self._look_into(folder)
            self._seen_all = self._seen_all or self._all_listed()
            self._go_on_sweeping()
        # As long again as it took: a huge folder costs half of a core at the most.
        now = time.monotonic()
        self._next = now + max(self._settings.poll_s, now - begun)

    def take(self, room: int) -> list[Arrival]:
        """Files that are whole, ``room`` at most; taken with this, they are not given again."""
        now, wall_ns = time.monotonic(), time.time_ns()
        ready: list[tuple[_Candidate, Arrival]] = []
        for path, one in list(self._candidates.items()):
            if len(ready) >= room:
                break
            if one.not_before > now:
                continue
            if (arrival := self._if_settled(one, now, wall_ns)) is not None:
                ready.append((one, arrival))
                del self._candidates[path]
        for one, arrival in ready:
            self._taken.add(arrival.key)
            self._given[arrival.uri] = one
        return [arrival for _, arrival in ready]

    def unchanged_s(self, arrival: Arrival) -> float:
        """Seconds for which a file that was taken is known to be as it is; from any thread.

        They are counted by this machine's clock alone, from when the file was seen to land or to
        change: its own times may be those of another machine, whose clock is ahead or behind.
        Only where it lay there before do they have to do.
        """
        one = self._given.get(arrival.uri)
        watched_s = 0.0 if one is None else time.monotonic() - one.since
        if one is not None and not one.lay_there:
            return watched_s
        return max(watched_s, (time.time_ns() - arrival.landed_ns) / 1e9)

    def settled(self, arrival: Arrival) -> None:
        """Say that a file that was taken has its row; forgets what `give_back` would need."""
        self._given.pop(arrival.uri, None)

    def give_back(self, arrival: Arrival) -> None:
        """Take a file back that was not whole, to be taken again a little later."""
        self._taken.discard(arrival.key)
        candidate = self._given.pop(arrival.uri, None)
        if candidate is None:
            candidate = _Candidate(
                arrival.uri,
                arrival.size_bytes,
                arrival.modified_ns,
                arrival.landed_ns,
                since=time.monotonic(),
                not_before=0.0,
                lay_there=True,
            )
        candidate.not_before = time.monotonic() + candidate.wait_s
        candidate.wait_s = min(2 * candidate.wait_s, _AGAIN_AFTER_S[1])
        self._candidates[candidate.path] = candidate

    def _all_listed(self) -> bool:
        return bool(self._listed) and all(told != _NEVER for told in self._listed.values())

    # ---- listing -----------------------------------------------------------------------

    def _look_into(self, folder: str) -> None:
        try:
            changed_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116 - often, without a Path each
            before = self._listed.get(folder, _NEVER)
            if before[0] == changed_ns and changed_ns < before[1] - _RACY_NS:
                return
            listed_ns = time.time_ns()
            for block in self._blocks(folder):
                self._consider_new(block)
                if len(self._candidates) >= _CANDIDATES_MAX:
                    self._listed[folder] = _NEVER  # the next look goes on
                    return
        except OSError as error:
            self._not_listed(folder, error)
            return
        self._listed[folder] = (changed_ns, listed_ns)
        self._closed.discard(folder)

    def _not_listed(self, folder: str, error: OSError) -> None:
        """Tell of a folder that may not be listed, once, and try it again at the next look."""
        if folder == self._root:
            raise InputError(
                f"{printable(folder)}: cannot be listed: {error.strerror}: name a folder "
                "that may be read"
            ) from error
        if error.errno in _GONE:
            self._listed.pop(folder, None)
            self._closed.discard(folder)
            return
        self._listed[folder] = _CLOSED
        if folder not in self._closed:
            self._closed.add(folder)
            self._untold.append(
                f"{printable(folder)}: cannot be listed: {error.strerror}: nothing in it is seen "
                "until it may be read"
            )

    def _consider_new(self, block: Sequence[tuple[str, int]]) -> None:
        """Look at those files of a block that are not known by path and inode."""
        keys = [hash(entry) for entry in block]
        known = self._known.among(keys).tolist()
        fresh = [
            (path, key) for (path, _), key, old in zip(block, keys, known, strict=True) if not old
        ]
        told = self._consider([path for path, _ in fresh])
        for (_, key), done in zip(fresh, told, strict=True):
            if done:
                self._known.add(key)

    def _blocks(self, folder: str) -> Iterator[list[tuple[str, int]]]:
        """Path and inode of the images of a folder, some at a time; folders in it are noted.

        Raises:
            OSError: it cannot be listed.
        """
        block: list[tuple[str, int]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    self._found_folder(entry.path)
                elif not (is_image_name(entry.name) or may_hold_image(entry.name)):
                    extension = entry.name[entry.name.rfind(".") :].lower()
                    self._ignore(entry.path, f"{printable(extension)} is no image's extension")
                else:
                    block.append((entry.path, entry.inode()))
                    if len(block) == _BLOCK:
                        yield block
                        block = []
        yield block

    def _ignore(self, path: str, reason: str) -> None:
        """Tell of a file that is not taken; of many for one reason the first alone."""
        told = self._ignored[reason]
        most = limits.NOTE_EXAMPLES_MAX if reason == _NO_CONTENT else 1
        if told >= most or (not told and len(self._ignored) > limits.NOTE_EXTENSIONS_MAX):
            return
        self._ignored[reason] += 1
        more = "; other such files are ignored without a line" if told + 1 == most else ""
        self._untold.append(f"{printable(path)}: ignored, {reason}{more}")

    def _found_folder(self, path: str) -> None:
        depth = path.removeprefix(self._root).count("/")
        if depth > limits.FOLDER_DEPTH_MAX:
            if not self._too_deep:  # one stands for all
                self._too_deep = True
                self._untold.append(
                    f"{printable(path)}: lies over {limits.FOLDER_DEPTH_MAX} levels deep, and is "
                    "not watched: name a folder nearer to it as the inbox"
                )
        elif path not in self._listed:
            self._listed[path] = _NEVER

    def _go_on_sweeping(self) -> None:
        """Look at a few of all files, the known ones among them."""
        begun = time.monotonic()
        if self._sweep is None:
            if begun < self._sweep_at:
                return
            self._sweep, self._sweep_took_s = self._sweeping(), 0.0
        for _ in self._sweep:
            if time.monotonic() - begun > _SWEEP_SLICE_S:
                self._sweep_took_s += time.monotonic() - begun
                return
        self._sweep_took_s += time.monotonic() - begun
        wait_s = max(self._settings.rescan_s, self._sweep_took_s / _SWEEP_SHARE)
        self._sweep, self._sweep_at = None, time.monotonic() + wait_s

    def _sweeping(self) -> Iterator[None]:
        for folder in list(self._listed):
            try:
                for block in self._blocks(folder):
                    self._consider([path for path, _ in block])
                    yield
            except OSError as error:
                self._not_listed(folder, error)
                yield

    def _consider(self, paths: Sequence[str]) -> list[bool]:
        """Make candidates of files that are new.

        Returns:
            For each, whether it need not be looked at again under this name and inode.
        """
        answers = [False] * len(paths)
        found = []
        for place, path in enumerate(paths):
            if path in self._candidates or path in self._given:
                continue
            try:
                facts = os.stat(path)  # noqa: PTH116 - a million times, without a Path each
            except OSError:
                continue  # gone again, or a link that leads nowhere yet
            if stat.S_ISREG(facts.st_mode):
                found.append((place, path, facts))
            else:
                answers[place] = True
        keys = [_arrival(path, f.st_size, f.st_mtime_ns, 0).key for _, path, f in found]
        done = (self._taken.among(keys) | self._no_images.among(keys)).tolist()
        for (place, path, facts), old in zip(found, done, strict=True):
            answers[place] = old
            if not old:
                lay_there = not self._seen_all
                self._candidates[path] = _candidate(path, facts, lay_there=lay_there)
        return answers

    # ---- taking ------------------------------------------------------------------------

    def _if_settled(self, one: _Candidate, now: float, wall_ns: int) -> Arrival | None:
        try:
            facts = os.stat(one.path)  # noqa: PTH116
        except OSError:
            del self._candidates[one.path]
            return None
        if (facts.st_size, facts.st_mtime_ns) != (one.size_bytes, one.modified_ns):
            one.size_bytes, one.modified_ns = facts.st_size, facts.st_mtime_ns
            one.landed_ns, one.since, one.lay_there = facts.st_ctime_ns, now, False
        quiet_s = max((wall_ns - one.modified_ns) / 1e9, now - one.since)
        if quiet_s < self._settings.settle_s:
            return None
        arrival = _arrival(one.path, one.size_bytes, one.modified_ns, one.landed_ns)
        if arrival.key in self._taken:  # it is again what it was when it was taken
            del self._candidates[one.path]
            return None
        if not (is_image_name(one.path) or content_is_image(one.path)):
            self._no_images.add(arrival.key)
            self._ignore(one.path, _NO_CONTENT)
            del self._candidates[one.path]
            return None
        return arrival


def _arrival(path: str, size_bytes: int, modified_ns: int, landed_ns: int) -> Arrival:
    uri = printable(path)
    problem = None if uri == path else RejectReason.BAD_NAME.value
    return Arrival(uri, size_bytes, modified_ns, landed_ns, problem)


def _candidate(path: str, facts: os.stat_result, *, lay_there: bool) -> _Candidate:
    now = time.monotonic()
    # On POSIX systems st_ctime is set by a rename as well as by the last write.
    return _Candidate(
        path,
        facts.st_size,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
        since=now,
        not_before=now,
        lay_there=lay_there,
    )
