"""An archive of Spark's classes for the JVM, which halves the start time of a local session.

The JVM reads, checks and links some ten thousand classes before Spark's first job has ended. A
class-data archive (JEP 350) holds them as they then lie in memory. It fits one Java and one
installation of Spark only; where it does not fit, the JVM does without.

The second local session without an archive has its JVM write one as its last act, in the
background, after the command has ended. Not the first: a JVM that records takes twice the
processor time to start, which is wasted where the cache does not last, as in a container. The JVM
holds a lock until then, so that no second one writes it too. The next session renames what was
written whole, and removes the rest: what a killed JVM left, archives of a Java or Spark that has
changed since, and all but the ``limits.CLASS_ARCHIVES_MAX`` used last.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

from pulmospark.core import limits
from pulmospark.core.hashing import value_id
from pulmospark.core.machine import cache_folder
from pulmospark.spark.java import Java

OPTIONS = "spark.driver.extraJavaOptions"
# Mismatches are warnings on standard error, which belongs to the command.
_SILENT = "-Xlog:disable -Xlog:all=error:stderr"
_WHOLE = 0xF00BABA8
"""first word of a dynamic archive in HotSpot, which writes the header after all else"""
_KEY_CHARS = 8


@dataclass(frozen=True)
class Archiving:
    """What the JVM of a session does about the archive.

    Attributes:
        options: for the JVM; empty: nothing.
        lock: descriptor that the JVM inherits and thereby holds while it records; ``None``: it
            does not record. Close it once the JVM has started.
    """

    options: str = ""
    lock: int | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the JVM inherits."""
        return () if self.lock is None else (self.lock,)

    def close(self) -> None:
        """Leave the lock to the JVM."""
        if self.lock is not None:
            os.close(self.lock)


def class_archive(java: Java) -> Path:
    """Path of the archive for a Java and the installed Spark; it need not exist."""
    import pyspark  # noqa: PLC0415 - a tenth of a second, which only a session's start has

    spark = Path(pyspark.__file__).parent
    place = value_id([str(java.home.resolve()), str(spark)])[:_KEY_CHARS]
    version = value_id([java.version, pyspark.__version__])[:_KEY_CHARS]
    return cache_folder() / "java" / f"spark-{place}-{version}.jsa"


def archiving(java: Java) -> Archiving:
    """Use the archive if it is there, else record it if nobody does and the cache lasts.

    A session starts without where the cache cannot be written or is short of space.
    """
    archive = class_archive(java)
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        path = archive.with_suffix(".lock")
        cache_lasts = path.is_file()  # a session before this one has left it
        lock = _locked(path)
        if lock is not None:
            try:
                _adopt(archive)
                if cache_lasts and not archive.is_file() and (part := _part(archive)):
                    recorded = Archiving(f'{_SILENT} "-XX:ArchiveClassesAtExit={part}"', lock)
                    lock = None
                    return recorded
            finally:
                if lock is not None:
                    os.close(lock)
        if archive.is_file():
            with contextlib.suppress(PermissionError):  # another user's: its age is theirs
                os.utime(archive)
            return Archiving(archive_options(java))
    except OSError as error:
        logging.getLogger(__name__).debug("no class archive in %s: %s", archive.parent, error)
    return Archiving()


def archive_options(java: Java) -> str:
    """JVM options to use the archive; empty: there is none."""
    archive = class_archive(java)
    return f'{_SILENT} "-XX:SharedArchiveFile={archive}"' if archive.is_file() else ""


def discard(java: Java) -> None:
    """Remove the archive, with which a JVM did not start."""
    with contextlib.suppress(OSError):
        class_archive(java).unlink(missing_ok=True)


def _locked(path: Path) -> int | None:
    """Descriptor of a locked file; ``None``: another process holds the lock."""
    import fcntl  # noqa: PLC0415 - POSIX only

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _part(archive: Path) -> Path | None:
    """Where a JVM is to write the archive; ``None``: there is too little space."""
    if shutil.disk_usage(archive.parent).free < limits.CLASS_ARCHIVE_FREE_MIN:
        return None
    return archive.with_name(f"{archive.name}.{uuid.uuid4().hex}.part")


def _adopt(archive: Path) -> None:
    """Take what a JVM has written whole; remove what is left of others. Under the lock."""
    for part in archive.parent.glob(f"{archive.name}.*.part"):
        if _is_whole(part) and not archive.is_file():
            os.replace(part, archive)  # noqa: PTH105 - the atomic one
            _trim(archive)
        else:
            part.unlink(missing_ok=True)


def _is_whole(part: Path) -> bool:
    with part.open("rb") as file:
        return int.from_bytes(file.read(4), sys.byteorder) == _WHOLE


def _trim(archive: Path) -> None:
    """Remove archives of the same places that no longer fit, and those not used for longest."""
    place = archive.name.rpartition("-")[0]
    others = [path for path in archive.parent.glob("spark-*.jsa") if path != archive]
    outdated = [path for path in others if path.name.rpartition("-")[0] == place]
    left = sorted(set(others) - set(outdated), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in [*outdated, *left[limits.CLASS_ARCHIVES_MAX - 1 :]]:
        path.unlink(missing_ok=True)
