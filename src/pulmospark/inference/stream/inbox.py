"""Watches the folder that images land in: finds new files, and waits until they are complete.

A regular file is taken once its size and time have been stable for a while, unless it is hidden.
It needs the extension of an image, or an ambiguous name and the content of an image. A folder is
listed again only when its own time has changed; all files are checked again, a few at a time,
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
from pulmospark.core.key_set import KeySet
from pulmospark.core.schemas import RejectReason
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.layouts.notes import printable
from pulmospark.layouts.walk import (
    content_is_image,
    is_hidden,
    is_image_name,
    may_hold_image,
)

_RACY_NS = 2_000_000_000  # some file systems keep times in steps of two seconds
_SWEEP_SLICE_S = 0.02  # per look
_SWEEP_SHARE = 0.05  # of the time, at most
_BLOCK = 512
_CANDIDATES_MAX = 20_000
_AGAIN_AFTER_S = (0.2, 2.0)
_NEVER = (0, 0)
_CLOSED = (-1, -1)  # of a folder that may not be listed: its time does not say when it may
_NO_CONTENT = "it has no known extension, and its content is not an image"
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


@dataclass(slots=True)
class _Candidate:
    """A file that may be taken soon."""

    path: str
    size_bytes: int
    modified_ns: int
    landed_ns: int
    since: float
    """when it was first seen with this size and time, by the monotonic clock"""
    not_before: float
    """when it is checked next"""
    existed_before: bool
    """whether it existed before the inbox could see it land or change"""
    wait_s: float = _AGAIN_AFTER_S[0]
    """before the next retry"""


class Inbox:
    """Files that land below a folder.

    Args:
        folder: absolute; watched recursively.
        settings: of the stream.
        taken: keys (``Arrival.key``) of files taken before.

    Raises:
        InputError: the folder cannot be listed.
    """

    def __init__(self, folder: Path, settings: StreamSettings, taken: Ints) -> None:
        self._root = str(folder).rstrip("/") or "/"
        self._settings = settings
        self._taken = KeySet(taken)
        self._known = KeySet()  # hashes of path and inode: saves checking the file
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
        self._unreported: list[str] = []
        self._no_images = KeySet()  # files whose content is not an image
        self._ignored: Counter[str] = Counter()  # reason -> files reported

    @property
    def waiting(self) -> int:
        """Number of files found but not taken yet; there may be more once they are taken."""
        return len(self._candidates)

    @property
    def drained(self) -> bool:
        """Whether all folders were listed and each file found has a row."""
        return self._all_listed() and not (self._candidates or self._given)

    @property
    def pause_s(self) -> float:
        """Seconds until the next look is due."""
        return max(self._next - time.monotonic(), 0.0)

    def left_out(self) -> list[str]:
        """What is ignored or not watched and not reported yet, with the reason, one line each.

        Of files ignored for the same reason, such as an extension, only the first are reported.
        """
        lines, self._unreported = self._unreported, []
        return lines

    def look(self) -> None:
        """Look for new files.

        Raises:
            InputError: the inbox itself cannot be listed.
        """
        begun = time.monotonic()
        if len(self._candidates) < _CANDIDATES_MAX:
            for folder in [self._root, *(f for f in self._listed if f != self._root)]:
                self._look_into(folder)
            self._seen_all = self._seen_all or self._all_listed()
            self._continue_sweep()
        # Pause as long as the look took: even a huge folder costs at most half a core.
        now = time.monotonic()
        self._next = now + max(self._settings.poll_s, now - begun)

    def take(self, room: int) -> list[Arrival]:
        """Take at most ``room`` complete files; they are not returned again."""
        now, wall_ns = time.monotonic(), time.time_ns()
        ready: list[tuple[_Candidate, Arrival]] = []
        for path, candidate in list(self._candidates.items()):
            if len(ready) >= room:
                break
            if candidate.not_before > now:
                continue
            if (arrival := self._if_settled(candidate, now, wall_ns)) is not None:
                ready.append((candidate, arrival))
                del self._candidates[path]
        for candidate, arrival in ready:
            self._taken.add(arrival.key)
            self._given[arrival.uri] = candidate
        return [arrival for _, arrival in ready]

    def unchanged_s(self, arrival: Arrival) -> float:
        """Seconds for which a taken file is known to be unchanged; callable from any thread.

        Counted by this machine's clock, from when the file was seen to land or change: its own
        timestamps may come from a machine whose clock is off. They are used only for files that
        existed before.
        """
        candidate = self._given.get(arrival.uri)
        watched_s = 0.0 if candidate is None else time.monotonic() - candidate.since
        if candidate is not None and not candidate.existed_before:
            return watched_s
        return max(watched_s, (time.time_ns() - arrival.landed_ns) / 1e9)

    def settled(self, arrival: Arrival) -> None:
        """Record that a taken file has its row; it can no longer be given back."""
        self._given.pop(arrival.uri, None)

    def give_back(self, arrival: Arrival) -> None:
        """Return a file that was not complete, to be taken again a little later."""
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
                existed_before=True,
            )
        candidate.not_before = time.monotonic() + candidate.wait_s
        candidate.wait_s = min(2 * candidate.wait_s, _AGAIN_AFTER_S[1])
        self._candidates[candidate.path] = candidate

    def _all_listed(self) -> bool:
        return bool(self._listed) and all(listed != _NEVER for listed in self._listed.values())

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
                    self._listed[folder] = _NEVER  # the next look lists it again
                    return
        except OSError as error:
            self._not_listed(folder, error)
            return
        self._listed[folder] = (changed_ns, listed_ns)
        self._closed.discard(folder)

    def _not_listed(self, folder: str, error: OSError) -> None:
        """Report a folder that cannot be listed, once; the next look tries it again."""
        if folder == self._root:
            raise InputError(
                f"{printable(folder)}: cannot be listed: {error.strerror}: name a readable folder"
            ) from error
        if error.errno in _GONE:
            self._listed.pop(folder, None)
            self._closed.discard(folder)
            return
        self._listed[folder] = _CLOSED
        if folder not in self._closed:
            self._closed.add(folder)
            self._unreported.append(
                f"{printable(folder)}: cannot be listed: {error.strerror}: its files are "
                "ignored until it is readable"
            )

    def _consider_new(self, block: Sequence[tuple[str, int]]) -> None:
        """Consider the files of a block whose path and inode are not known."""
        keys = [hash(entry) for entry in block]
        known = self._known.among(keys).tolist()
        fresh = [
            (path, key) for (path, _), key, old in zip(block, keys, known, strict=True) if not old
        ]
        finished = self._consider([path for path, _ in fresh])
        for (_, key), done in zip(fresh, finished, strict=True):
            if done:
                self._known.add(key)

    def _blocks(self, folder: str) -> Iterator[list[tuple[str, int]]]:
        """Path and inode of the images of a folder, in blocks; also notes its subfolders.

        Raises:
            OSError: the folder cannot be listed.
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
                    self._ignore(entry.path, f"{printable(extension)} is not an image extension")
                else:
                    block.append((entry.path, entry.inode()))
                    if len(block) == _BLOCK:
                        yield block
                        block = []
        yield block

    def _ignore(self, path: str, reason: str) -> None:
        """Report an ignored file; of several with the same reason, only the first."""
        reported = self._ignored[reason]
        most = limits.NOTE_EXAMPLES_MAX if reason == _NO_CONTENT else 1
        if reported >= most or (not reported and len(self._ignored) > limits.NOTE_EXTENSIONS_MAX):
            return
        self._ignored[reason] += 1
        more = "; further such files are ignored silently" if reported + 1 == most else ""
        self._unreported.append(f"{printable(path)}: ignored, {reason}{more}")

    def _found_folder(self, path: str) -> None:
        depth = path.removeprefix(self._root).count("/")
        if depth > limits.FOLDER_DEPTH_MAX:
            if not self._too_deep:  # report only the first
                self._too_deep = True
                self._unreported.append(
                    f"{printable(path)}: more than {limits.FOLDER_DEPTH_MAX} levels deep, so "
                    "not watched: name a folder closer to it as the inbox"
                )
        elif path not in self._listed:
            self._listed[path] = _NEVER

    def _continue_sweep(self) -> None:
        """Check a few files again, including known ones."""
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
        """Make new files candidates.

        Returns:
            For each, whether it need not be checked again under this name and inode.
        """
        finished = [False] * len(paths)
        files = []
        for place, path in enumerate(paths):
            if path in self._candidates or path in self._given:
                continue
            try:
                facts = os.stat(path)  # noqa: PTH116 - a million times, without a Path each
            except OSError:
                continue  # gone again, or a dangling link
            if stat.S_ISREG(facts.st_mode):
                files.append((place, path, facts))
            else:
                finished[place] = True
        keys = [_arrival(path, f.st_size, f.st_mtime_ns, 0).key for _, path, f in files]
        done = (self._taken.among(keys) | self._no_images.among(keys)).tolist()
        for (place, path, facts), old in zip(files, done, strict=True):
            finished[place] = old
            if not old:
                existed_before = not self._seen_all
                self._candidates[path] = _candidate(path, facts, existed_before=existed_before)
        return finished

    # ---- taking ------------------------------------------------------------------------

    def _if_settled(self, candidate: _Candidate, now: float, wall_ns: int) -> Arrival | None:
        try:
            facts = os.stat(candidate.path)  # noqa: PTH116
        except OSError:
            del self._candidates[candidate.path]
            return None
        if (facts.st_size, facts.st_mtime_ns) != (candidate.size_bytes, candidate.modified_ns):
            candidate.size_bytes, candidate.modified_ns = facts.st_size, facts.st_mtime_ns
            candidate.landed_ns, candidate.since, candidate.existed_before = (
                facts.st_ctime_ns,
                now,
                False,
            )
        quiet_s = max((wall_ns - candidate.modified_ns) / 1e9, now - candidate.since)
        if quiet_s < self._settings.settle_s:
            return None
        arrival = _arrival(
            candidate.path, candidate.size_bytes, candidate.modified_ns, candidate.landed_ns
        )
        if arrival.key in self._taken:  # unchanged since it was taken
            del self._candidates[candidate.path]
            return None
        if not (is_image_name(candidate.path) or content_is_image(candidate.path)):
            self._no_images.add(arrival.key)
            self._ignore(candidate.path, _NO_CONTENT)
            del self._candidates[candidate.path]
            return None
        return arrival


def _arrival(path: str, size_bytes: int, modified_ns: int, landed_ns: int) -> Arrival:
    uri = printable(path)
    problem = None if uri == path else RejectReason.BAD_NAME.value
    return Arrival(uri, size_bytes, modified_ns, landed_ns, problem)


def _candidate(path: str, facts: os.stat_result, *, existed_before: bool) -> _Candidate:
    now = time.monotonic()
    # On POSIX systems a rename sets st_ctime, as does the last write.
    return _Candidate(
        path,
        facts.st_size,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
        since=now,
        not_before=now,
        existed_before=existed_before,
    )
