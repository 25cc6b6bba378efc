"""Imports OpenVINO and NNCF without their telemetry.

``import openvino`` alone sends an event to an analytics server, from every process, unless
the user has opted out, and writes an id to ``~/intel``. Software that reads patients' images
must not contact servers unasked, and a cluster's workers often cannot. OpenVINO has a silent
fallback for machines without the package ``openvino_telemetry``: this module hides the package
while OpenVINO is imported for the first time, and changes nothing else.
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
    """Import OpenVINO; returns the loaded module if the user's code imported it before.

    Raises:
        ImportError: it is not installed.
    """
    openvino = _import_silently("openvino")
    # The first call builds a table for all later ones, and lets other threads run meanwhile: two
    # threads whose first runs of a network meet there wait for each other for ever, with Python's
    # global lock held. So it is built before there can be two.
    with _IMPORTING:
        openvino.Type.u8.to_dtype()
    return openvino


def import_nncf() -> ModuleType:
    """Import NNCF, OpenVINO's quantisation library, which also sends telemetry.

    Raises:
        ImportError: it is not installed.
    """
    import_openvino()
    return _import_silently("nncf")


def _import_silently(name: str) -> ModuleType:
    with _IMPORTING:
        hidden = {
            name: module
            for name, module in sys.modules.items()
            if name == _SENDER or name.startswith(f"{_SENDER}.")
        }
        for module_name in hidden:
            del sys.modules[module_name]
        # None in sys.modules marks a module as not importable.
        sys.modules[_SENDER] = cast("ModuleType", None)
        try:
            return importlib.import_module(name)
        finally:
            del sys.modules[_SENDER]
            sys.modules.update(hidden)
