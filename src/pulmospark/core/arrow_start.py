"""Keep pyarrow from importing pandas only to learn that a list is no Series.

``pyarrow.array`` imports pandas at its first call, 0.2 s of a processor in each process. pandas
itself stays usable: pyarrow imports it as soon as something is converted to it.
"""

from __future__ import annotations

import functools
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

import pyarrow as pa

_HIDDEN = "pandas"


class _Hiding(MetaPathFinder):
    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        if fullname == _HIDDEN:
            raise ImportError(f"{fullname} is not needed")
        return None


@functools.cache  # pyarrow looks once per process
def spare_pandas() -> None:
    """Let pyarrow look for pandas in vain, where it is not imported yet.

    For processes that are our own: another thread must not import pandas at the same time.
    """
    if _HIDDEN in sys.modules:
        return
    hiding = _Hiding()
    sys.meta_path.insert(0, hiding)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hiding)
