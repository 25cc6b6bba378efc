"""Networks of the published papers, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from pulmospark.models.zoo.backbones import torchvision_backbone

_GRID = 4


class BasicCnn(nn.Module):
    """The basic CNN: convolution, pooling, fully connected, output.

    From Figure 1 of "Detecting COVID-19 in Chest X-Ray Images Using Apache Spark and CNN".
    From the paper: the types of layers and their order. Our choice, since the figure gives no
    numbers: four convolutions of 3 x 3 with 8, 16, 32 and 64 filters, each followed by a max
    pooling of 2 x 2, batch normalisation (it learns in a few epochs) and ReLU; an
    average over a 4 x 4 grid, so that any input size from 16 pixels works; and a
    fully connected layer of 128. The output layer is the head of
    :class:`~pulmospark.models.zoo.network.Network`.

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
    # No bias: the normalisation has one. Pooling first saves three quarters of its work.
    return nn.Sequential(
        nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )


class BelmanLopezCnn(nn.Module):
    """The CNNs of Belman-López (2022), without their output layer.

    Convolutions of 3 x 3, each with ReLU and max pooling of 2 x 2; flattened; dropout of 0.5;
    a dense layer of 512 with ReLU. For two classes the filters are 32, 32, 64, 64, 128, 128
    and the output one sigmoid: 353,569 parameters. For four they are 32, 64, 64, 128, 128
    and the output a softmax: 1,328,900 parameters. At 200 x 200 x 3 both counts require
    convolutions without padding.

    Args:
        filters: of each convolution.
        flat: numbers in the last map.
    """

    def __init__(self, filters: tuple[int, ...], flat: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((3, *filters[:-1]), filters, strict=True):
            layers += [nn.Conv2d(before, after, kernel_size=3), nn.ReLU(), nn.MaxPool2d(2)]
        self.convolutions = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.5)
        self.dense = nn.Linear(flat, 512)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Deep features: (n, 3, 200, 200) float32 -> (n, 512) float32, none negative."""
        flat = torch.flatten(self.convolutions(images), 1)
        return torch.relu(self.dense(self.dropout(flat)))


class ModifiedMobileNetV2(nn.Module):
    """The modified MobileNetV2 of Akter et al. (2021), without its output layer.

    From the paper: the convolutions of MobileNetV2, frozen; a convolution of 3 x 3; seven small
    ones with kernels 2, 1, 2, 1, 1, 2, 2, followed by average, average, max, max, max, no and
    average pooling, and dropout; a closing convolution of 3 x 3. Our choice, since the paper
    does not specify them: the number of filters, the dropout's rate, ReLU, padding, and an average
    over the last map.

    Args:
        filters: of each added convolution.
        dropout: rate after each small convolution.
    """

    def __init__(self, filters: int = 128, dropout: float = 0.2) -> None:
        super().__init__()
        base = torchvision_backbone("mobilenetv2.mobilenet_v2", ("classifier",))
        self.features = base.get_submodule("features")
        self.added = nn.Sequential(*_added(1280, filters, dropout))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Deep features: (n, 3, h, w) float32 -> (n, filters) float32, none negative."""
        features: torch.Tensor = self.added(self.features(images)).mean(dim=(2, 3))
        return features


class EvenSides(nn.Module):
    """Repeats the last row and column of a map if their number is odd.

    A following 2 x 2 pooling then rounds up, and a map of one pixel stays one. ``ceil_mode`` would
    be equivalent, but OpenVINO does not support kernels larger than the map.
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> the same with h and w even."""
        height, width = int(maps.shape[-2]), int(maps.shape[-1])
        if height % 2:
            maps = torch.cat((maps, maps[..., -1:, :]), dim=-2)
        if width % 2:
            maps = torch.cat((maps, maps[..., -1:]), dim=-1)
        return maps


def _added(width: int, filters: int, dropout: float) -> Iterator[nn.Module]:
    yield from (nn.Conv2d(width, filters, 3, padding=1), nn.ReLU())
    for kernel, pooling in zip(
        (2, 1, 2, 1, 1, 2, 2), ("average", "average", *["max"] * 3, None, "average"), strict=True
    ):
        # Padded for kernels of size 2, so that the map keeps its size.
        yield nn.ZeroPad2d((0, kernel - 1, 0, kernel - 1))
        yield from (nn.Conv2d(filters, filters, kernel), nn.ReLU())
        if pooling is not None:
            yield EvenSides()
            yield nn.AvgPool2d(2) if pooling == "average" else nn.MaxPool2d(2)
        yield nn.Dropout(dropout)
    yield from (nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU())
