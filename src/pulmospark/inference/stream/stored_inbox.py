"""Watches a folder of a store that images land in, by listing it and by notifications.

An object appears as a whole, so it is taken as soon as it is listed; its etag identifies its
content, so one that is overwritten is a new image. Memory holds 8 bytes for each object that was
taken, one page of the listing, and the objects that wait.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from pulmospark.config.stream import StreamSettings
from pulmospark.core import limits, stream_limits
from pulmospark.core.arrays import Ints
from pulmospark.core.errors import SourceUnavailableError
from pulmospark.core.key_set import KeySet
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.sniff import sniff
from pulmospark.inference.stream.ledger import Arrival
from pulmospark.inference.stream.notifications import Notifications
from pulmospark.layouts.notes import printable
from pulmospark.layouts.walk import is_hidden, is_image_name, may_hold_image
from pulmospark.store.patience import patiently
from pulmospark.store.prefetch import find_many
from pulmospark.store.store import StoredObject, open_store
from pulmospark.store.uri import StoreUri

_PAGE = 1_000
_CANDIDATES_MAX = 20_000
_WHOLE_S = float("inf")
_NO_CONTENT = "it has no known extension, and its content is not an image"


class StoredInbox:
    """Objects that land below an address; the methods are those of :class:`.inbox.Inbox`.

    Args:
        folder: address of the folder.
        settings: of the stream; the folder is listed every ``rescan_s`` seconds, or every
            ``STREAM_BACKSTOP_S`` if there are notifications.
        taken: keys (``Arrival.key``) of objects taken before.
        notifications: of the store; ``None``: it is only listed.
    """

    def __init__(
        self,
        folder: StoreUri,
        settings: StreamSettings,
        taken: Ints,
        notifications: Notifications | None = None,
    ) -> None:
        self._folder, self._store = folder, open_store(folder)
        self._notifications = notifications
        self._every_s = stream_limits.STREAM_BACKSTOP_S if notifications else settings.rescan_s
        self._poll_s = settings.poll_s
        self._taken = KeySet(taken)
        self._ignored_keys = KeySet()
        self._candidates: dict[str, Arrival] = {}
        self._given: dict[str, Arrival] = {}
        self._later: dict[str, Arrival] = {}  # overwritten while an earlier content is scored
        self._listing: Iterator[StoredObject] | None = None
        self._list_at = self._next = time.monotonic()
        self._complete = False
        """whether the folder was listed once"""
        self._ignored: Counter[str] = Counter()
        self._unreported: list[str] = []

    @property
    def waiting(self) -> int:
        """Number of objects found but not taken yet."""
        return len(self._candidates)

    @property
    def drained(self) -> bool:
        """Whether the folder was listed to its end and each object found has a row."""
        return self._complete and not (
            self._listing or self._candidates or self._given or self._later
        )

    @property
    def pause_s(self) -> float:
        """Seconds until the next look is due."""
        return max(self._next - time.monotonic(), 0.0)

    def left_out(self) -> list[str]:
        """What is ignored and not reported yet; see :meth:`.inbox.Inbox.left_out`."""
        lines, self._unreported = self._unreported, []
        if self._notifications is not None:
            lines += self._notifications.left_out()
        return lines

    def look(self) -> None:
        """Take in notifications, and list a page where a listing is due.

        Raises:
            InputError: there is no such bucket, or a key that cannot be read.
            SourceUnavailableError: the store fails for longer than a stream waits for it.
        """
        now = time.monotonic()
        busy = False
        if self._notifications is not None:
            busy = self._hear(self._notifications)
        if self._listing is not None or now >= self._list_at:
            busy = self._list_page() or busy
        until_listed = max(self._list_at - time.monotonic(), 0.0)
        wait_s = 0.0 if busy else min(until_listed, max(self._poll_s, 0.5))
        self._next = time.monotonic() + wait_s

    def take(self, room: int) -> list[Arrival]:
        """Take at most ``room`` objects; they are not returned again."""
        arrivals = list(islice(self._candidates.values(), room))
        for arrival in arrivals:
            del self._candidates[arrival.uri]
            self._taken.add(arrival.key)
            self._given[arrival.uri] = arrival
        return arrivals

    def unchanged_s(self, arrival: Arrival) -> float:
        """Endless: an object is never seen half-written."""
        del arrival
        return _WHOLE_S

    def settled(self, arrival: Arrival) -> None:
        """Record that a taken object has its row; its notifications are deleted."""
        self._given.pop(arrival.uri, None)
        if self._notifications is not None:
            self._notifications.settled(arrival.key)
        if (newer := self._later.pop(arrival.uri, None)) is not None:
            self._candidates[newer.uri] = newer

    def give_back(self, arrival: Arrival) -> None:
        """Return an object that was replaced while it was read: as it is now it is taken again."""
        self._taken.discard(arrival.key)
        self._given.pop(arrival.uri, None)
        self._later.pop(arrival.uri, None)
        now = patiently(lambda: next(find_many([_uri_of(self._folder, arrival.uri)])))
        if self._notifications is not None:
            key = _arrival(now).key if isinstance(now, StoredObject) else None
            self._notifications.replaced(arrival.key, key)
        if isinstance(now, StoredObject):
            self._consider([now])

    def _hear(self, notifications: Notifications) -> bool:
        """Consider the objects of new notifications; whether there were any."""
        if len(self._candidates) >= _CANDIDATES_MAX:
            return False
        heard = notifications.receive()
        uris = list(dict.fromkeys(uri for message in heard for uri in message.uris))
        answers = patiently(lambda: dict(zip(uris, find_many(uris), strict=True)))
        for message in heard:
            # An object that is gone again has no row, as a file that was taken away.
            objects = [
                answer
                for answer in (answers[uri] for uri in message.uris)
                if isinstance(answer, StoredObject)
            ]
            self._consider(objects)
            arrivals = map(_arrival, objects)
            pending = {arrival.key for arrival in arrivals if self._is_pending(arrival)}
            notifications.holds(message, pending)
        return bool(heard)

    def _list_page(self) -> bool:
        """List one page; whether there is more."""
        if len(self._candidates) >= _CANDIDATES_MAX:
            return False
        page = patiently(self._page)
        self._consider(page)
        if len(page) < _PAGE:
            self._listing, self._complete = None, True
            self._list_at = time.monotonic() + self._every_s
            return False
        return True

    def _page(self) -> list[StoredObject]:
        if self._listing is None:
            self._listing = self._store.list(self._folder.prefix)
        try:
            return list(islice(self._listing, _PAGE))
        except SourceUnavailableError:
            self._listing = None  # a listing that broke off begins anew
            raise

    def _consider(self, found: Sequence[StoredObject]) -> None:
        """Make images that were not taken candidates."""
        arrivals = [_arrival(entry) for entry in found]
        keys = [arrival.key for arrival in arrivals]
        known = self._taken.among(keys) | self._ignored_keys.among(keys)
        for entry, arrival, old in zip(found, arrivals, known.tolist(), strict=True):
            if old:
                continue
            if not self._is_image(entry):
                self._ignored_keys.add(arrival.key)
                continue
            waiting = self._later if arrival.uri in self._given else self._candidates
            earlier = waiting.get(arrival.uri)
            waiting[arrival.uri] = arrival
            if earlier is not None and earlier.key != arrival.key and self._notifications:
                self._notifications.replaced(earlier.key, arrival.key)

    def _is_pending(self, arrival: Arrival) -> bool:
        """Whether an object waits for its row."""
        waiting = (self._candidates, self._given, self._later)
        return any(
            (there := held.get(arrival.uri)) is not None and there.key == arrival.key
            for held in waiting
        )

    def _is_image(self, entry: StoredObject) -> bool:
        below = entry.uri.key[len(self._folder.prefix) :]
        if not below or below.endswith("/") or any(map(is_hidden, below.split("/"))):
            return False
        name = entry.uri.name
        if is_image_name(name):
            return True
        if not may_hold_image(name):
            self._ignore(entry, f"{printable(name[name.rfind('.') :].lower())} is not an image "
                         "extension")  # fmt: skip
            return False
        length = min(limits.SNIFF_BYTES, entry.size_bytes)
        begin = (
            patiently(lambda: self._store.get_range(entry.uri.key, 0, length)) if length else b""
        )
        if sniff(begin) is None:
            self._ignore(entry, _NO_CONTENT)
            return False
        return True

    def _ignore(self, entry: StoredObject, reason: str) -> None:
        """Report an ignored object; of several with the same reason, only the first."""
        if not self._ignored[reason] and len(self._ignored) <= limits.NOTE_EXTENSIONS_MAX:
            self._unreported.append(
                f"{printable(str(entry.uri))}: ignored, {reason}; further such objects are "
                "ignored silently"
            )
        self._ignored[reason] += 1


def _arrival(found: StoredObject) -> Arrival:
    uri = printable(str(found.uri))
    problem = None if uri == str(found.uri) else RejectReason.BAD_NAME.value
    return Arrival(
        uri, found.size_bytes, found.modified_ns, found.modified_ns, problem, found.etag
    )


def _uri_of(folder: StoreUri, text: str) -> StoreUri:
    root = f"{folder.scheme}://{folder.bucket}/"
    return StoreUri(folder.scheme, folder.bucket, text[len(root) :])
