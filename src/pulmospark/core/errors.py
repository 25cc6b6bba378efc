"""The errors that pulmospark raises deliberately.

    PulmosparkError
    |-- UsageError          2  a flag, a setting or a call is wrong
    |-- InputError          3  the given data cannot be used
    |   |-- LayoutError        a folder has no known layout
    |   |-- ClassError         a class is empty, or a fold has only one
    |   `-- BundleError        a model bundle is damaged or of another kind
    |-- PlatformError        4  Java, memory, disk, weights or network are missing
    |   |-- SourceUnavailableError  a machine cannot reach the images; another might
    |   `-- TrainingError      a training process failed; carries its own traceback
    `-- AuditError          5  an audit says that the result can't be trusted

The number is the exit code of the command line. Each message is one line that names
the value, the limit and the remedy; text from outside is escaped to one line.
"""

from __future__ import annotations

import warnings

from pulmospark.core.safe_text import one_line


class PulmosparkError(Exception):
    """Base class of pulmospark's errors.

    Args:
        message: one line: what was found, what was allowed, what to do.
        detail: more for ``--debug`` (a worker's traceback, say); never printed otherwise.
    """

    exit_code = 1

    def __init__(self, message: str, *, detail: str | None = None) -> None:
        self.message = one_line(message)
        super().__init__(self.message)
        self.detail = detail


class UsageError(PulmosparkError):
    """A flag, a setting or an argument is wrong."""

    exit_code = 2


class InputError(PulmosparkError):
    """The given data cannot be used."""

    exit_code = 3


class LayoutError(InputError):
    """A folder has no known layout, or not the specified one."""


class ClassError(InputError):
    """A class has no image, or a split or fold lacks a class."""


class BundleError(InputError):
    """A model bundle is damaged, incomplete or of another version."""


class PlatformError(PulmosparkError):
    """Something outside the data is missing: Java, memory, disk, weights, network."""

    exit_code = 4


class SourceUnavailableError(PlatformError):
    """A machine cannot reach listed files: its mount, its store or its system failed.

    No image is to blame, so none is rejected for it; Spark may try another machine.
    """


class TrainingError(PlatformError):
    """A training process failed; ``detail`` holds the traceback of the first that did."""


class AuditError(PulmosparkError):
    """An audit failed and ``--strict`` was given."""

    exit_code = 5


_EARLIER = {"EnvironmentProblem": PlatformError}
"""name of an error in earlier versions -> the error"""


def __getattr__(name: str) -> type[PulmosparkError]:
    if name in _EARLIER:
        present = _EARLIER[name]
        warnings.warn(
            f"{name} is now called {present.__name__}: rename it; the old name is deprecated",
            DeprecationWarning,
            stacklevel=2,
        )
        return present
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
