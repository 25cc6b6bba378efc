"""Imports OpenVINO and NNCF without their telemetry.

``import openvino`` alone sends an event to an analytics server, from every process, unless
the user has opted out, and writes an id to ``~/intel``. Software that reads patients' images
must not contact servers unasked, and a cluster's workers often cannot. OpenVINO has a silent
fallback for machines without the package ``openvino_telemetry``: this module hides the package
while OpenVINO is imported for the first time. ``openvino.convert_model``, which nothing here uses
and which takes longer to import than all the rest, is imported at its first use.
"""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType
from typing import Any, cast

_SENDER = "openvino_telemetry"
_CONVERTER = "openvino.tools.ovc"
_IMPORTING = threading.Lock()


def import_openvino() -> ModuleType:
    """Import OpenVINO; returns the loaded module if the user's code imported it before.

    Raises:
        ImportError: it is not installed.
    """
    openvino = _import_silently("openvino", without=("openvino.tools",))
    if "convert_model" not in vars(openvino):
        openvino.__getattr__ = _convert_model  # type: ignore[method-assign]
    # The first call builds a table for all later ones, and lets other threads run meanwhile: two
    # threads whose first runs of a network meet there wait for each other for ever, with Python's
    # global lock held. So it is built before there can be two.
    with _IMPORTING:
        openvino.Type.u8.to_dtype()
    return openvino


def _convert_model(name: str) -> Any:
    """The function of this name, imported now; stands for the module's ``__getattr__``."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    return _import_silently(_CONVERTER).convert_model


def import_nncf() -> ModuleType:
    """Import NNCF, OpenVINO's quantisation library, which also sends telemetry.

    Raises:
        ImportError: it is not installed.
    """
    import_openvino()
    return _import_silently("nncf")


def _import_silently(name: str, *, without: tuple[str, ...] = ()) -> ModuleType:
    without = (_SENDER, *without)
    with _IMPORTING:
        hidden = {
            name: module
            for name, module in sys.modules.items()
            if any(name == each or name.startswith(f"{each}.") for each in without)
        }
        for module_name in hidden:
            del sys.modules[module_name]
        # None in sys.modules marks a module as not importable.
        sys.modules.update(dict.fromkeys(without, cast("ModuleType", None)))
        try:
            return importlib.import_module(name)
        finally:
            for module_name in without:
                del sys.modules[module_name]
            sys.modules.update(hidden)
