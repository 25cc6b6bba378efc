"""What this machine has: cores and memory that this process may use, and its cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def cores() -> int:
    """Cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or its control group's where lower."""
    total = int(psutil.virtual_memory().total)
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text().strip())
    except (OSError, ValueError):  # no control group, or its limit is the word "max"
        return total
    return min(total, limit)


def cache_folder() -> Path:
    """Folder for what can be made again (XDG base directories); not created here."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pulmospark"
