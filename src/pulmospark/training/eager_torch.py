"""Spare a training process torch's compiler, which it never uses.

Every optimiser and ``DistributedDataParallel`` import ``torch._dynamo`` to instruct a compiler
that might be at work. The import takes longer than that of torch itself.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

_NAME = "torch._dynamo"


def run_eagerly() -> None:
    """Let optimisers work without the compiler, until something asks for more of it.

    For a process that is our own, after ``torch.distributed`` has been initialised, which asks a
    compiler that is there for more.
    """
    if _NAME not in sys.modules:
        sys.modules[_NAME] = torch._dynamo = _NoCompiler(_NAME)


class _NoCompiler(ModuleType):
    """What code that runs eagerly calls of ``torch._dynamo``; anything else imports it."""

    utils = SimpleNamespace(get_optimize_ddp_mode=lambda: "no_optimization")

    @staticmethod
    def disable(function: Callable[..., Any], *_: Any, **__: Any) -> Callable[..., Any]:
        """The function itself: nothing compiles it."""
        return function

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """Nothing: there is no graph."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's import system looks for these
            raise AttributeError(name)
        if sys.modules.get(_NAME) is self:
            del sys.modules[_NAME], torch._dynamo
        return getattr(importlib.import_module(_NAME), name)
