"""Keep the current folder out of Python's import path.

It is often the data set's, and untrusted: a ``cv2.py`` next to its images would run in place of
OpenCV. Python imports from it with ``python -m`` and ``python -c``, and if ``PYTHONPATH`` has an
empty entry, as after ``export PYTHONPATH="$PYTHONPATH:/opt/x"``.

Imports ``os`` and ``sys`` alone, which every Python has loaded before it looks anywhere.
"""

from __future__ import annotations

import os
import sys

SAFE_PATH = "PYTHONSAFEPATH"
"""environment variable (Python 3.11): ``-m``, ``-c`` and scripts add no folder to the path"""

_PYTHON_PATH = "PYTHONPATH"


def leave_current_folder() -> None:
    """Remove the current folder from this process's path, unless ``PYTHONPATH`` names it in full.

    Call it before any other import; :func:`guard_children` protects child processes.
    """
    here, kept = _current_folder(), _kept_entries()
    # Python puts its own folder and PYTHONPATH's first. Entries after its library were installed,
    # whatever the current folder is.
    library = os.path.dirname(os.__file__)  # noqa: PTH120
    first = sys.path.index(library) if library in sys.path else len(sys.path)
    sys.path[:first] = [
        entry for entry in sys.path[:first] if entry in kept or os.path.realpath(entry) != here
    ]


def guard_children() -> None:
    """Keep Pythons started from here on from importing from the current folder.

    Changes this process's environment: Spark's JVM passes it on to the Pythons that it starts,
    some of which take no other settings.
    """
    os.environ[SAFE_PATH] = "1"
    if _PYTHON_PATH in os.environ:
        os.environ[_PYTHON_PATH] = os.pathsep.join(_kept_entries())


def _kept_entries() -> list[str]:
    """Entries of ``PYTHONPATH``, absolute, without the current folder unless spelt out.

    An empty entry is the current folder, and ``.`` is each folder that one happens to be in.
    """
    here = _current_folder()
    entries = os.environ.get(_PYTHON_PATH, "").split(os.pathsep)
    return [
        os.path.abspath(entry)  # noqa: PTH100
        for entry in entries
        if entry and (os.path.isabs(entry) or os.path.realpath(entry) != here)  # noqa: PTH117
    ]


def _current_folder() -> str:
    try:
        return os.path.realpath(os.getcwd())  # noqa: PTH109
    except FileNotFoundError:  # deleted meanwhile: nothing is imported from it
        return ""
