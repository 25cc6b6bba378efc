"""This machine: usable cores and memory, its processor and its cache folder."""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pulmospark.core.errors import PlatformError
from pulmospark.core.hashing import value_id
from pulmospark.core.locations import path_of_variable

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
"""environment of a process that shares the machine with others of its kind: threads of libraries
would take the cores from each other"""


def cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory that this process may use: the machine's, or its control groups' where lower.

    Args:
        root: folder that holds ``proc`` and ``sys``.
    """
    import psutil  # noqa: PLC0415 - only this needs it

    total = int(psutil.virtual_memory().total)
    return min([total, *_memory_limits(root)])


def _memory_limits(root: Path) -> Iterator[int]:
    """Limits of this process's control groups and of those around them, of both versions.

    Within a container the group may be named by its path outside, where nothing lies inside: its
    own limit is then that of the mounted root, which is looked at in any case.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        hierarchy, controllers, group = line.split(":", 2)
        if hierarchy == "0":
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        for above in (PurePosixPath(group), *PurePosixPath(group).parents):
            # no such group, or its limit is the word "max"
            with suppress(OSError, ValueError):
                yield int((mount / str(above).lstrip("/") / name).read_text().strip())


def loopback() -> str:
    """Name of the loopback network interface."""
    return "lo0" if sys.platform == "darwin" else "lo"


def cache_folder() -> Path:
    """Folder for reproducible files; not created here.

    ``$XDG_CACHE_HOME`` or ``~/.cache``, by the XDG base directory rules: a relative path there is
    ignored.

    Raises:
        PlatformError: the variable holds a remote address.
    """
    base = path_of_variable("XDG_CACHE_HOME")
    root = base if base is not None and base.is_absolute() else home_folder() / ".cache"
    return root / "pulmospark"


def home_folder() -> Path:
    """The user's home folder.

    Raises:
        PlatformError: neither ``HOME`` nor the system names one.
    """
    try:
        return Path.home()
    except RuntimeError as error:
        raise PlatformError(
            "this user has no home folder: set HOME or XDG_CACHE_HOME to a writable folder"
        ) from error


@dataclass(frozen=True)
class Processor:
    """The system's description of the first processor."""

    name: str
    flags: frozenset[str]
    """its instruction sets, as Linux spells them; empty on other systems"""


@functools.cache
def processor() -> Processor:
    """This machine's processor."""
    fields: dict[str, str] = {}
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            key, colon, value = line.partition(":")
            if not colon:
                break  # the end of the first one
            fields[key.strip()] = value.strip()
    flags = fields.get("flags") or fields.get("Features") or ""
    return Processor(fields.get("model name") or platform.processor(), frozenset(flags.split()))


def processor_id() -> str:
    """SHA-256 of the processor features that compiled code depends on."""
    cpu = processor()
    return value_id([platform.system(), platform.machine(), cpu.name, sorted(cpu.flags)])
