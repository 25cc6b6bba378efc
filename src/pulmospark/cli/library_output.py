"""What libraries print while a command runs: without control characters, and by ``--verbose``.

They quote untrusted names and headers: Pillow and pydicom in warnings, others in log lines.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from types import TracebackType

from pulmospark.cli.styling import say_error
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


class _LinesOnStandardError(logging.Handler):
    """Prints records as lines, by way of whatever standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        say_error(one_line(f"  {record.getMessage()}"))


def report_decisions() -> None:
    """Print what pulmospark logs on its decisions: ``--verbose``."""
    logger = logging.getLogger("pulmospark")
    logger.setLevel(logging.INFO)
    logger.addHandler(_LinesOnStandardError())
    logger.propagate = False


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
