"""The interface of every network in the zoo: grey pixels in, logits out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from pulmospark.core.errors import UsageError

GREY_MAX = 255.0
"""grey levels of the standard image are 0 to 255"""


class Network(nn.Module):
    """A backbone that computes deep features, with one linear layer as its head.

    Input standardisation is part of the module, so that training, engines and bundles agree:
    grey levels are divided by 255, repeated for each channel of the backbone, and standardised by
    ``mean`` and ``std``.

    Args:
        name: in the zoo.
        backbone: (n, channels, h, w) float32, standardised, -> (n, width) float32.
        width: of the deep features.
        classes: number of classes, at least two.
        mean: of each channel, in [0, 1].
        std: standard deviation of each channel, in [0, 1].
        dropout: probability of dropping a feature before the head in training.
        single_logit: the head has one output z for two classes, as before a sigmoid; the
            logits are then 0 and z, whose softmax is that sigmoid.

    Raises:
        UsageError: ``classes``, ``mean`` or ``std`` is invalid.
    """

    head: nn.Linear
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        name: str,
        backbone: nn.Module,
        *,
        width: int,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        dropout: float = 0.0,
        single_logit: bool = False,
    ) -> None:
        super().__init__()
        if classes < 2:
            raise UsageError(f"classes is {classes}: a network needs at least two")
        if single_logit and classes != 2:
            raise UsageError(f"classes is {classes}: a single logit needs two classes")
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise UsageError(
                f"mean {tuple(mean)} and std {tuple(std)}: give one of each per channel, "
                "std above 0"
            )
        self.name, self.width, self.classes = name, width, classes
        self.single_logit = single_logit
        self.channel_mean, self.channel_std = tuple(mean), tuple(std)
        shape = (1, len(mean), 1, 1)
        # Not in the state dict: they are stored in the bundle's config.
        self.register_buffer("mean", torch.tensor(mean).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(shape), persistent=False)
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 1 if single_logit else classes)

    def standardise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Convert grey levels to the backbone's input.

        Args:
            pixels: (n, h, w), uint8 or float, 0 to 255 either way.

        Returns:
            (n, channels, h, w) float32.

        Raises:
            UsageError: ``pixels`` has another number of axes.
        """
        if pixels.ndim != 3:
            raise UsageError(f"pixels of shape {tuple(pixels.shape)}: expected grey (n, h, w)")
        grey = pixels.unsqueeze(1).to(self.mean.dtype) / GREY_MAX
        return (grey - self.mean) / self.std

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Deep features: (n, h, w) grey levels -> (n, width) float32."""
        features: torch.Tensor = self.backbone(self.standardise(pixels))
        return features

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits before the temperature: (n, h, w) grey levels -> (n, classes) float32."""
        return self.logits(self.features(pixels))

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of deep features: (n, width) -> (n, classes) float32."""
        logits: torch.Tensor = self.head(self.dropout(features))
        if self.single_logit:
            return torch.cat((torch.zeros_like(logits), logits), dim=1)
        return logits


class FeatureExtractor(nn.Module):
    """A network that returns its deep features.

    Args:
        network: whose features; shared, not copied.
        logits: return ``(logits, features)`` of one pass.
    """

    def __init__(self, network: Network, *, logits: bool = False) -> None:
        super().__init__()
        self.network = network
        self.logits = logits

    def forward(self, pixels: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """(n, h, w) grey levels -> features (n, width), or logits and features."""
        features = self.network.features(pixels)
        if not self.logits:
            return features
        return self.network.logits(features), features
