"""Graphs of networks, by torch.fx: which layer follows which."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

# Functions that behave differently in training: tracing would fix the mode of that moment.
_MODAL = ("dropout", "stochastic_depth", "drop_path", "batch_norm")


class _Tracer(fx.Tracer):
    """Stops at every module without children, so that its mode is read when it runs."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        childless = next(m.children(), None) is None
        return childless or super().is_leaf_module(m, module_qualified_name)


def traced(module: nn.Module) -> fx.Graph | None:
    """The graph of a module with one input; ``None`` if it depends on values or on the mode.

    Args:
        module: whose ``forward`` is traced; not changed.
    """
    try:
        graph = _Tracer().trace(module)
    except Exception:  # noqa: BLE001 - a forward may do anything with a tensor that is none
        return None
    return None if any(_is_modal(node) for node in graph.nodes) else graph


def _is_modal(node: fx.Node) -> bool:
    if node.op not in {"call_function", "call_method"}:
        return False
    name: Any = node.target if isinstance(node.target, str) else node.target.__name__
    return "training" in node.kwargs or any(word in name for word in _MODAL)
