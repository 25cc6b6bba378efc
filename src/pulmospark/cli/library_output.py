"""Removes control characters from what libraries print while a command runs.

They quote untrusted names and headers: Pillow and pydicom in warnings, others in log lines.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from types import TracebackType

from pulmospark.core.safe_text import one_line, shown


class _CleanRecord(logging.LogRecord):
    """A log record whose message is safe to print."""

    def getMessage(self) -> str:  # noqa: N802 - logging's
        return shown(super().getMessage())


def clean_messages() -> None:
    """Clean this process's warnings, log lines and tracebacks.

    Only for the command line: a program that uses pulmospark as a library handles its own output.
    """
    logging.setLogRecordFactory(_CleanRecord)
    warnings.formatwarning = _warning_line
    sys.excepthook = _write_traceback


def _warning_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    del line
    from pulmospark.core.records import RenamedSettingWarning  # imports pydantic

    if issubclass(category, RenamedSettingWarning):  # the line of code is of no use to a user
        return one_line(f"pulmospark: {message}") + "\n"
    return one_line(f"{filename}:{lineno}: {category.__name__}: {message}") + "\n"


def _write_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    sys.stderr.write(shown("".join(traceback.format_exception(kind, error, trace))))
