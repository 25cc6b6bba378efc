"""Imports OpenVINO and NNCF without the report of its use that it sends.

``import openvino`` alone sends an event to an analytics server, from every process, unless
the user has opted out, and writes an id to ``~/intel``. Software that reads patients' images
must not call out unasked, and a cluster's workers often cannot. OpenVINO has a silent stand-in
for machines where the package ``openvino_telemetry`` is not installed: here the package is
out of sight while OpenVINO is imported for the first time, and nothing else is touched.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import cast

_SENDER = "openvino_telemetry"
_IMPORTING = threading.Lock()


def import_openvino() -> ModuleType:
    """Import OpenVINO; where the user's own code did so before, that one is given.

    Raises:
        ImportError: it is not installed.
    """
    return _import_silently("openvino")


def import_nncf() -> ModuleType:
    """Import NNCF, OpenVINO's library for networks in integers, which reports its use as well.

    Raises:
        ImportError: it is not installed.
    """
    _import_silently("openvino")
    return _import_silently("nncf")


def _import_silently(name: str) -> ModuleType:
    with _IMPORTING:
        hidden = {
            name: module
            for name, module in sys.modules.items()
            if name == _SENDER or name.startswith(f"{_SENDER}.")
        }
        for one in hidden:
            del sys.modules[one]
        # None in sys.modules is Python's own way to say "this one cannot be imported".
        sys.modules[_SENDER] = cast("ModuleType", None)
        try:
            return importlib.import_module(name)
        finally:
            del sys.modules[_SENDER]
            sys.modules.update(hidden)
