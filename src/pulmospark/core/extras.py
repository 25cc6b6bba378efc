"""How to install optional parts: from the checkout, because no package index has pulmospark.

``pip install pulmospark`` would install whatever somebody else may have put there.
"""

from __future__ import annotations

import importlib.util

from pulmospark.core.errors import PlatformError


def how_to_install(extra: str) -> str:
    """The command that installs an optional extra.

    Args:
        extra: its name in ``pyproject.toml``.
    """
    return f"run pip install --constraint constraints.txt '.[{extra}]' in pulmospark's checkout"


def has_pyspark() -> bool:
    """Whether PySpark is installed, without importing it."""
    return importlib.util.find_spec("pyspark") is not None


def check_pyspark() -> None:
    """Check that PySpark is installed, before a module that needs it is imported.

    It is no dependency: a cluster brings its own.

    Raises:
        PlatformError: it is not.
    """
    if not has_pyspark():
        raise no_pyspark()


def no_pyspark() -> PlatformError:
    """The error where PySpark is not installed."""
    return PlatformError(
        "PySpark is not installed: on a cluster, run this with the Python that has the cluster's "
        f"own; elsewhere {how_to_install('local')}. Without it, ingest, split, predict and serve "
        "work on this machine"
    )
