"""Networks of the published papers that are small enough to be trained from scratch."""

from __future__ import annotations

import torch
from torch import nn

_GRID = 4


class BasicCnn(nn.Module):
    """The basic CNN: convolution, pooling, fully connected, output.

    From Figure 1 of "Detecting COVID-19 in Chest X-Ray Images Using Apache Spark and CNN".
    The paper's: the kinds of layers and their order. Our choice, since the figure gives no
    numbers: four convolutions of 3 x 3 with 8, 16, 32 and 64 filters, each followed by a max
    pooling of 2 x 2, batch normalisation (it learns in a few epochs) and ReLU; an
    average over a 4 x 4 grid, so that any input size of 16 pixels and more goes in; and a
    fully connected layer of 128. The output layer is the head of
    :class:`~pulmospark.models.network.Network`.

    Args:
        channels: of the input, 1 for grey or 3.
        filters: of each convolution.
        width: of the fully connected layer.
    """

    def __init__(
        self,
        channels: int = 1,
        filters: tuple[int, ...] = (8, 16, 32, 64),
        width: int = 128,
    ) -> None:
        super().__init__()
        blocks = [
            _block(before, after)
            for before, after in zip((channels, *filters[:-1]), filters, strict=True)
        ]
        self.convolutions = nn.Sequential(*blocks)
        self.grid = nn.AdaptiveAvgPool2d(_GRID)
        self.fully_connected = nn.Linear(filters[-1] * _GRID * _GRID, width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Deep features.

        Args:
            images: (n, channels, h, w) float32, standardised, h and w of 16 and more.

        Returns:
            (n, width) float32, none negative.
        """
        maps = self.grid(self.convolutions(images))
        return torch.relu(self.fully_connected(torch.flatten(maps, 1)))


def _block(before: int, after: int) -> nn.Sequential:
    # No bias: the normalisation has its own. Pooled first, three quarters of its work is spared.
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )
