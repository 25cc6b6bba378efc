"""The record of a run folder in a store: what is whole there, and who is writing.

An object appears as a whole, a folder does not. So this record, ``published.json``, says which
units (``bundle``, ``cohort``, ``report.html``) are complete, with the etag of each file and the
version of each Delta table. A unit that is about to change is struck off first and entered again
at the end: what a killed writer left half-way is not listed, so nobody reads it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from pulmospark.core import mirror_limits
from pulmospark.core.errors import InputError
from pulmospark.core.records import Record
from pulmospark.core.store_uri import StoreUri
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.lease import Lease, Leased, Writer, held
from pulmospark.store.prefetch import under_way
from pulmospark.store.probe import is_probe, probe
from pulmospark.store.store import open_store

_LOG = logging.getLogger(__name__)

NAME = "published.json"
FORMAT = 1

_NESTED = "compare"
"""a comparison is a unit for each network, since each takes a training"""


def unit_of(path: str) -> str:
    """The unit that a file of a run's folder belongs to.

    Example:
        >>> unit_of("bundle/config.json"), unit_of("report.html"), unit_of("compare/vgg19/x/y")
        ('bundle', 'report.html', 'compare/vgg19')
    """
    parts = path.split("/")
    return "/".join(parts[:2] if parts[0] == _NESTED else parts[:1])


def is_plain_path(path: str) -> bool:
    """Whether a relative path stays below its folder, and hides nothing.

    What a store says becomes a path on this machine only if this holds.
    """
    return "\\" not in path and all(
        part and not part.startswith(".") and part.isprintable() for part in path.split("/")
    )


def _plain(path: str) -> str:
    if not is_plain_path(path):
        raise ValueError(f"{path!r:.200} is no path of a run's folder")
    return path


PlainPath = Annotated[str, AfterValidator(_plain)]


class Unit(Record):
    """A part of a run's folder that is complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[PlainPath, tuple[int, str]] = Field(
        default_factory=dict, max_length=mirror_limits.PUBLISHED_FILES_MAX
    )
    """path in the run's folder -> bytes and etag"""
    tables: dict[PlainPath, int] = Field(default_factory=dict)
    """path in the run's folder -> version of the Delta table"""


class Published(Record):
    """The record of a run's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    writer: Writer | None = None
    units: dict[PlainPath, Unit] = Field(default_factory=dict)

    def content(self) -> bytes:
        """As it is stored."""
        return self.model_dump_json(indent=1).encode()


def read_published(uri: StoreUri) -> tuple[Published, str] | None:
    """The record of the run folder at an address, and its etag; ``None``: there is none.

    Raises:
        InputError: it is damaged, or of a newer version.
        SourceUnavailableError: the store fails.
    """
    where = uri / NAME
    try:
        content, etag = open_store(uri).read(where.key, mirror_limits.PUBLISHED_BYTES_MAX)
    except ObjectMissingError:
        return None
    try:
        record = Published.model_validate_json(content)
        _check(record)
    except (ValidationError, ValueError) as error:
        raise InputError(
            f"{where}: not as written by pulmospark ({_line(error)}): publish the run again "
            "to another address"
        ) from None
    return record, etag


@dataclass(frozen=True)
class RunRecord(Leased):
    """The record of a run's folder, as the lease of who writes there.

    Attributes:
        folder: address of the run.
        record: its content, with the last writer.
    """

    folder: StoreUri
    record: Published = field(default_factory=Published)

    @property
    def uri(self) -> StoreUri:  # type: ignore[override]  # of an attribute
        """Of the object."""
        return self.folder / NAME

    @property
    def writer(self) -> Writer | None:  # type: ignore[override]
        """Who writes."""
        return self.record.writer

    @property
    def place(self) -> StoreUri:
        """The run's folder."""
        return self.folder

    def read(self) -> tuple[RunRecord, str] | None:
        """See :func:`read_published`."""
        entry = read_published(self.folder)
        return None if entry is None else (RunRecord(self.folder, entry[0]), entry[1])

    def content(self, writer: Writer | None) -> bytes:
        """The record with a writer."""
        return self.record.model_copy(update={"writer": writer}).content()

    def with_units(self, units: Mapping[str, Unit]) -> RunRecord:
        """The record with other units."""
        return RunRecord(self.folder, self.record.model_copy(update={"units": dict(units)}))


@contextlib.contextmanager
def writing(
    folder: StoreUri, wait: Callable[[str], None] = _LOG.info
) -> Iterator[Lease[RunRecord]]:
    """Be the one writer of a run folder.

    Args:
        folder: its address; it may be empty.
        wait: see :func:`pulmospark.store.lease.held`.

    Raises:
        UsageError: another process is writing there.
        InputError: something else is there.
        PlatformError: the store ignores conditional writes, or refuses to be written to.
    """
    store, start = open_store(folder), RunRecord(folder)
    entry = start.read()
    if entry is None:
        listed = (entry for entry in store.list(folder.prefix) if not is_probe(entry.uri))
        if (other := next(listed, None)) is not None:
            raise InputError(
                f"{folder}: is not empty ({other.uri.key!r:.100}), and no run's folder (it has no "
                f"{NAME}): choose another"
            )
    probed = under_way(probe, store, folder.prefix)
    with held(start, wait, entry) as lease:
        probed.result()
        yield lease


def _check(record: Published) -> None:
    if record.format != FORMAT:
        raise ValueError(f"format {record.format}, but this pulmospark reads {FORMAT}")
    for name, unit in record.units.items():
        for path in (*unit.files, *unit.tables):
            if unit_of(path) != name:
                raise ValueError(f"{path!r:.200} does not belong to {name!r:.100}")


def _line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first: Any = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
