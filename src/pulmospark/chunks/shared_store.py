"""A run folder in a store, as workers see it that share nothing else with the driver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

WORK = "_work"
"""folder below an address in which a prediction or a run's stages work"""


@dataclass(frozen=True)
class SharedStore:
    """The address of a folder that this machine has a copy of.

    Attributes:
        root: the copy.
        address: what it is a copy of.
    """

    root: Path
    address: StoreUri

    @property
    def work(self) -> StoreUri:
        """For what stages keep until they have ended."""
        return self.address / WORK

    def place(self, folder: Path) -> StoreUri:
        """Where workers find what the driver has in a work folder below ``root``.

        Raises:
            ValueError: it is elsewhere.
        """
        return self.work / folder.relative_to(self.root).as_posix()

    def clear(self) -> None:
        """Remove what stages kept.

        Raises:
            SourceUnavailableError: the store fails.
        """
        open_store(self.work).delete_below(self.work.prefix)

    def published(self, folder: Path) -> StoreUri:
        """Address under which a folder below ``root`` is published.

        Raises:
            ValueError: it is elsewhere.
        """
        return self.address / folder.relative_to(self.root).as_posix()
