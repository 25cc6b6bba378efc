"""Networks whose heat maps are known."""

from __future__ import annotations

import torch

from pulmospark.models.zoo.network import Network


class _UpperHalf(torch.nn.Module):
    """A backbone whose map of each class lies in the upper half, or nowhere."""

    def __init__(self, *, cold: bool) -> None:
        super().__init__()
        self.last, self.cold = torch.nn.Identity(), cold

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.zeros(len(images), 3, 8, 8)
        for kind in range(3):
            maps[:, kind, :4, 2 * kind : 2 * kind + 2] = 0.0 if self.cold else 1.0
        return torch.as_tensor(self.last(maps).mean(dim=(2, 3)))


def upper_half_network(*, cold: bool = False) -> Network:
    """A network whose heat lies in the upper half, or nowhere."""
    network = Network(
        "upper half", _UpperHalf(cold=cold), width=3, classes=3, mean=(0.5,), std=(0.5,)
    )
    with torch.no_grad():
        network.head.weight.copy_(torch.eye(3))
    return network.eval()
