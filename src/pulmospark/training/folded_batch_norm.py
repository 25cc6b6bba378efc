"""Batch norm with fixed statistics, folded into the convolution before it.

With fixed statistics, batch norm is a scale and a shift of each channel. Applied to the weights of
the convolution, they cost nothing per pixel, in neither direction. The scale is computed in every
step from the layers' own parameters, so gradients, names and checkpoints stay the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from pulmospark.training.device import Float32Conv2d, StridedConv2d
from pulmospark.training.traced import traced


@contextlib.contextmanager
def folded_batch_norm(*backbones: nn.Module) -> Iterator[None]:
    """Fold batch norm into the convolution before it, wherever it is in evaluation mode.

    Layers in training mode run as before, so this holds for training and validation alike.
    Backbones that cannot be traced stay as they are.

    Args:
        backbones: changed in place, and restored afterwards.
    """
    pairs = [pair for backbone in backbones for pair in _pairs(backbone)]
    classes = [type(conv) for conv, _ in pairs]
    for conv, norm in pairs:
        conv.__dict__["norm"] = norm  # not registered: it has its own place in the state dict
        conv.__class__ = _FOLDED[type(conv)]
        norm.__class__ = _FoldedBatchNorm2d
    try:
        yield
    finally:
        for (conv, norm), kind in zip(pairs, classes, strict=True):
            conv.__class__, norm.__class__ = kind, nn.BatchNorm2d
            del conv.__dict__["norm"]


class _FoldedConv2d(nn.Conv2d):
    norm: nn.BatchNorm2d

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        if self.norm.training:
            return super().forward(maps)
        output: torch.Tensor = self._conv_forward(maps, *self._folded())
        return output

    def _folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        state = dict(self.norm.named_buffers())
        mean, variance = state["running_mean"], state["running_var"]
        scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        shift = mean if self.bias is None else mean - self.bias
        return self.weight * scale.reshape(-1, 1, 1, 1), self.norm.bias - shift * scale


class _FoldedFloat32Conv2d(_FoldedConv2d, Float32Conv2d):
    pass


class _FoldedStridedConv2d(_FoldedConv2d, StridedConv2d):
    pass


_FOLDED = {
    nn.Conv2d: _FoldedConv2d,
    Float32Conv2d: _FoldedFloat32Conv2d,
    StridedConv2d: _FoldedStridedConv2d,
}


class _FoldedBatchNorm2d(nn.BatchNorm2d):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return super().forward(maps) if self.training else maps


def _pairs(backbone: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions whose output goes to one batch norm only."""
    if (graph := traced(backbone)) is None:
        return []
    modules = dict(backbone.named_modules())
    calls = [modules[str(node.target)] for node in graph.nodes if node.op == "call_module"]
    pairs = []
    for node in graph.nodes:
        before = node.all_input_nodes[0] if node.op == "call_module" else None
        if before is None or before.op != "call_module" or len(before.users) != 1:
            continue
        conv, norm = modules[str(before.target)], modules[str(node.target)]
        if type(conv) not in _FOLDED or type(norm) is not nn.BatchNorm2d:
            continue
        whole = norm.affine and norm.track_running_stats
        if whole and calls.count(conv) == calls.count(norm) == 1:
            pairs.append((conv, norm))
    return pairs
