"""Import torchvision's networks without its C++ operators.

A torchvision wheel may be built for another torch (CUDA, say) than the installed CPU build. Its
C++ library then cannot be loaded, and ``import torchvision`` fails: it registers shape functions
for ``torchvision::nms``, an undeclared operator. pulmospark needs only the networks, which are
plain Python, so declaring the operator without an implementation is enough. If the real operators
can be loaded, nothing is declared.

``import torchvision`` also imports its operators, data sets and torch's compiler, which takes as
long as torch itself. For a single network, only its file is loaded, under a separate name
(:func:`import_torchvision_network`).
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType

import torch

from pulmospark.core.errors import PlatformError

_OPERATORS = ("nms", "qnms")
_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_ALONE = "_pulmospark_torchvision"
_BARE = ("", ".models", ".ops")
"""packages of torchvision whose own ``__init__`` is what takes long"""

# These import torchvision by its full name, which takes it whole anyway.
_WHOLE = ("efficientnet", "maxvit")
_LOADING = threading.Lock()


def import_torchvision_network(module: str) -> ModuleType:
    """Import one module of ``torchvision.models``, if possible without the rest of torchvision.

    The code is torchvision's, under another name in ``sys.modules``, so that a later
    ``import torchvision`` is unaffected. If torchvision is already imported, its module is
    returned.

    Args:
        module: such as ``vgg``.

    Raises:
        PlatformError: torchvision is not installed, or does not fit torch at all.
    """
    with _LOADING:
        if "torchvision.models" not in sys.modules and module not in _WHOLE:
            try:
                return _import_alone(module)
            except (ImportError, AttributeError, RuntimeError):
                pass  # another file layout: import all of torchvision
        import_torchvision_models()
        return importlib.import_module(f"torchvision.models.{module}")


def _import_alone(module: str) -> ModuleType:
    spec = importlib.util.find_spec("torchvision")  # finds the folder, imports nothing
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("torchvision is not installed")
    for package in _BARE:
        if (name := _ALONE + package) not in sys.modules:
            bare = importlib.machinery.ModuleSpec(name, None, is_package=True)
            bare.submodule_search_locations = [
                str(Path(folder, *package.split(".")))
                for folder in spec.submodule_search_locations
            ]
            sys.modules[name] = importlib.util.module_from_spec(bare)
    return importlib.import_module(f"{_ALONE}.models.{module}")


def import_torchvision_models() -> ModuleType:
    """Import ``torchvision.models``, even if its C++ library does not fit the installed torch.

    Raises:
        PlatformError: torchvision is not installed, or does not fit torch at all.
    """
    if "torchvision" not in sys.modules and not _load_real_operators():
        _declare_operators()
    try:
        # Imported here: it takes a second, needed only for torchvision networks.
        import torchvision.models  # noqa: PLC0415
    except (ImportError, RuntimeError) as error:
        raise PlatformError(
            f"torchvision does not load with torch {torch.__version__} "
            f"({type(error).__name__}): install the matching torchvision",
            detail=str(error),
        ) from error
    models: ModuleType = torchvision.models
    return models


def _load_real_operators() -> bool:
    """Whether torchvision's C++ library loads and has every operator."""
    spec = importlib.util.find_spec("torchvision")  # finds the folder, imports nothing
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for library in (*Path(folder).glob("_C*.so"), *Path(folder).glob("_C*.pyd")):
            try:
                torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
            except (OSError, RuntimeError):
                continue
    return all(_declared(name) for name in _OPERATORS)


def _declared(name: str) -> bool:
    return hasattr(torch.ops.torchvision, name)


@functools.cache  # torch drops a declaration when its Library object is collected
def _declare_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        if not _declared(name):
            library.define(f"{name}{_ARGUMENTS}")  # type: ignore[no-untyped-call]
    return library
