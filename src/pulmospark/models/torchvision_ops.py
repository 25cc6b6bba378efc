"""Lets torchvision's networks be imported where its C++ operators are absent.

The torchvision wheel of a registry may be built against another torch (CUDA, say) than the
CPU build that is installed. Its C++ library then cannot be loaded, and ``import torchvision``
fails: it attaches shape functions to ``torchvision::nms``, an operator that no one declared.
pulmospark needs the networks only, which are plain Python, so a declaration without an
implementation is enough. Where the real operators can be had they are loaded, and nothing
is declared.

``import torchvision`` also draws in its operators, data sets and torch's compiler, which takes
as long as torch itself. Where one network is needed, only the file that has it is loaded, under
a name of its own (:func:`import_torchvision_network`).
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

from pulmospark.core.errors import EnvironmentProblem

_OPERATORS = ("nms", "qnms")
_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_ALONE = "_pulmospark_torchvision"
_BARE = ("", ".models", ".ops")
"""packages of torchvision whose own ``__init__`` is what takes long"""

# These import torchvision by its full name, which takes it whole anyway.
_WHOLE = ("efficientnet", "maxvit")
_LOADING = threading.Lock()


def import_torchvision_network(module: str) -> ModuleType:
    """One module of ``torchvision.models``, without the rest of torchvision where that goes.

    Its code is torchvision's own; the name in ``sys.modules`` is another, so that an
    ``import torchvision`` elsewhere finds nothing half done. Where torchvision is imported
    already, its own module is given.

    Args:
        module: ``vgg``, say.

    Raises:
        EnvironmentProblem: torchvision is not installed, or does not fit torch at all.
    """
    with _LOADING:
        if "torchvision.models" not in sys.modules and module not in _WHOLE:
            try:
                return _import_alone(module)
            except (ImportError, AttributeError, RuntimeError):
                pass  # a torchvision whose files lie otherwise: taken whole
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
    """Import ``torchvision.models``, also beside a torch its C++ library does not fit.

    Raises:
        EnvironmentProblem: torchvision is not installed, or does not fit torch at all.
    """
    if "torchvision" not in sys.modules and not _load_real_operators():
        _declare_operators()
    try:
        # Inside: a second that only who builds a torchvision network should pay.
        import torchvision.models  # noqa: PLC0415
    except (ImportError, RuntimeError) as error:
        raise EnvironmentProblem(
            f"torchvision does not load beside torch {torch.__version__} "
            f"({type(error).__name__}): install the torchvision made for this torch",
            detail=str(error),
        ) from error
    models: ModuleType = torchvision.models
    return models


def _load_real_operators() -> bool:
    """Whether torchvision's own C++ library loads and has every operator."""
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
