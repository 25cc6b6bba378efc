"""Where Python imports from: never from the folder that pulmospark happens to be started in.

That folder is often the data set's, and a data set is a stranger's: a ``cv2.py`` beside its images
would be run in place of OpenCV. Python looks there for ``python -m`` and ``python -c``, and where
``PYTHONPATH`` has an empty entry, as ``export PYTHONPATH="$PYTHONPATH:/opt/x"`` leaves behind.

Imports ``os`` and ``sys`` alone, which every Python has loaded before it looks anywhere.
"""

from __future__ import annotations

import os
import sys

SAFE_PATH = "PYTHONSAFEPATH"
"""environment variable (Python 3.11): ``-m``, ``-c`` and scripts add no folder to the path"""

_PYTHON_PATH = "PYTHONPATH"


def leave_current_folder() -> None:
    """Drop the current folder from this process's path, unless ``PYTHONPATH`` names it in full.

    To be called before anything else is imported; children are seen to by
    :func:`guard_children`.
    """
    here, kept = _current_folder(), _kept_entries()
    # Python puts its own folder and PYTHONPATH's first. What is behind its library was installed,
    # whatever folder is the current one.
    library = os.path.dirname(os.__file__)  # noqa: PTH120
    first = sys.path.index(library) if library in sys.path else len(sys.path)
    sys.path[:first] = [
        entry for entry in sys.path[:first] if entry in kept or os.path.realpath(entry) != here
    ]


def guard_children() -> None:
    """See to it that Pythons started from here on do not import from the current folder either.

    It is the environment of this process that is changed: Spark's JVM hands it to the Pythons
    that it starts, some of which take no other settings.
    """
    os.environ[SAFE_PATH] = "1"
    if _PYTHON_PATH in os.environ:
        os.environ[_PYTHON_PATH] = os.pathsep.join(_kept_entries())


def _kept_entries() -> list[str]:
    """Entries of ``PYTHONPATH``, absolute, but for the current folder where it is not spelt out.

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
    except FileNotFoundError:  # deleted under us: nothing is imported from it
        return ""
