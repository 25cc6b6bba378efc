"""The audit log: who asked what and when, a line of JSON for each request.

It names the client by its token's name and address, the route, the outcome, and how many images
were scored with which model. It holds no file name, no identifier of a patient or study, and no
query.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from pulmospark.core import serve_limits
from pulmospark.core.files import disk_errors
from pulmospark.core.provenance import now_utc

_STEM = "audit-"


class AuditLog:
    """Files of lines in a folder, which only its owner can read; the oldest go.

    Raises:
        PlatformError: no space, or no right to write there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = self._opened(self._numbers()[-1] if self._numbers() else 1)

    def add(self, facts: dict[str, Any]) -> None:
        """Append a line.

        Raises:
            OSError: the disk is full.
        """
        at = now_utc().isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, **facts}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            # One write of one line: a kill leaves whole lines.
            os.write(self._file, line)
            if os.fstat(self._file).st_size >= serve_limits.SERVE_AUDIT_BYTES_MAX:
                os.close(self._file)
                numbers = self._numbers()
                self._file = self._opened(numbers[-1] + 1)
                for number in numbers[: -serve_limits.SERVE_AUDIT_FILES_MAX + 1]:
                    self._path(number).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _numbers(self) -> list[int]:
        names = [path.stem.removeprefix(_STEM) for path in self._folder.glob(f"{_STEM}*.jsonl")]
        return sorted(int(name) for name in names if name.isdigit())

    def _path(self, number: int) -> Path:
        return self._folder / f"{_STEM}{number:06d}.jsonl"

    def _opened(self, number: int) -> int:
        return os.open(self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
