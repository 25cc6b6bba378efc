"""A command within a control group of limited memory. To make one needs root, mostly."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def run_in_group(
    command: Sequence[str], limit_bytes: int
) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a command whose processes together may use ``limit_bytes``, swap included.

    Returns:
        What became of it, and the kernel's mark of the group's memory in bytes (the files that it
        kept in memory are counted, and are given back when memory is short).

    Raises:
        OSError: no control group with a limit of memory can be made here.
    """
    first = (_ROOT / "memory").is_dir()  # version 1
    group = (_ROOT / "memory" if first else _ROOT) / f"bench-{uuid.uuid4().hex}"
    group.mkdir()
    try:
        limit, peak = (
            ("memory.limit_in_bytes", "memory.max_usage_in_bytes")
            if first
            else ("memory.max", "memory.peak")
        )
        (group / limit).write_text(str(limit_bytes))

        def enter() -> None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

        done = subprocess.run(
            command, preexec_fn=enter, capture_output=True, text=True, check=False
        )
        return done, int((group / peak).read_text())
    finally:
        _end(group)


def _end(group: Path) -> None:
    """End what a command left running in its group, and the group."""
    for _ in range(100):
        left = (group / "cgroup.procs").read_text().split()
        for number in left:
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)
        if not left:
            group.rmdir()
            return
        time.sleep(0.1)
