"""Spare a training process torch's compiler, which it never uses.

Every optimiser and ``DistributedDataParallel`` import ``torch._dynamo`` to tell the compiler, should
it be at work, what to leave alone. The import takes longer than that of torch itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

_NAME = "torch._dynamo"


class _WithoutCompiler(ModuleType):
    """The parts of ``torch._dynamo`` that code run eagerly calls; anything else imports it."""

    utils = SimpleNamespace(get_optimize_ddp_mode=lambda: "no_optimization")

    @staticmethod
    def disable(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        """The function itself: nothing compiles it."""
        return function

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """Nothing: there is no graph."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        return getattr(_imported(), name)


def _imported() -> ModuleType:
    if isinstance(sys.modules.get(_NAME), _WithoutCompiler):
        del sys.modules[_NAME]
        del torch._dynamo
    return importlib.import_module(_NAME)


def run_eagerly() -> None:
    """Let optimisers work without the compiler in this process, until something asks for it."""
    if _NAME not in sys.modules:
        sys.modules[_NAME] = torch._dynamo = _WithoutCompiler(_NAME)
