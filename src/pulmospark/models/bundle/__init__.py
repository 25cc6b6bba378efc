"""The bundle: one folder with a trained network and all that is needed to use it.

Imports ``models.zoo``.
``models.weights``, inference, training and all packages above them may import it.
"""

from __future__ import annotations

from typing import Any

_PUBLIC = ("Bundle", "read_bundle", "write_bundle")


def __getattr__(name: str) -> Any:
    """Hand on what users import from here; loaded when asked for, as workers do without."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pulmospark.models.bundle import bundle  # noqa: PLC0415

    return getattr(bundle, name)
