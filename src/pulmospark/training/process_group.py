"""Reductions over the training processes, and the moving average of weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.distributed as dist

from pulmospark.models.zoo.network import Network

_DECAY_START = 10.0


@dataclass(frozen=True)
class Ranks:
    """This process among the others, and its device."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def total(self, *values: float) -> list[float]:
        """The sum of each value over all processes."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def least(self, *values: float) -> list[float]:
        """The smallest of each value over all processes."""
        return self._reduced(values, dist.ReduceOp.MIN)

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace float tensors by their mean over all processes."""
        some = [tensor for tensor in tensors if tensor.is_floating_point()]
        if self.world == 1 or not some:
            return
        # One reduction for all: each has the same latency, however small.
        flat = torch.cat([tensor.detach().reshape(-1).to(self.device).float() for tensor in some])
        dist.all_reduce(flat)
        flat /= self.world
        start = 0
        with torch.no_grad():
            for tensor in some:
                part = flat[start : start + tensor.numel()]
                tensor.copy_(part.reshape(tensor.shape))
                start += tensor.numel()

    def _reduced(self, values: tuple[float, ...], how: dist.ReduceOp.RedOpType) -> list[float]:
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, how)
        return [float(value) for value in tensor]


class MovingAverage:
    """Exponential moving average of a network's weights and statistics.

    The decay of step t is min(decay, (1 + t) / (10 + t)), so that the start is soon forgotten.

    Args:
        network: whose weights.
        decay: below 1.

    Attributes:
        network: a copy, which holds the average.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network, self._from, self._decay = copy.deepcopy(network), network, decay
        self.network.requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        decay = min(self._decay, (1.0 + step) / (_DECAY_START + step))
        now = self._from.state_dict()
        for name, kept in self.network.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(now[name], 1.0 - decay)
            else:
                kept.copy_(now[name])
