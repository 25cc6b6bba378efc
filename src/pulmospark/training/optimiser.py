"""The optimiser, its schedule, and the loss."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from pulmospark.config.train import NetworkSettings
from pulmospark.models.zoo.network import Network
from pulmospark.training.param_groups import parameter_groups

_RMSPROP_DECAY = 0.9
_SGD_MOMENTUM = 0.9


def make_optimiser(network: Network, settings: NetworkSettings) -> torch.optim.Optimizer:
    """The optimiser of the trainable parameters; the rest is frozen.

    Fused optimisers pass over the weights once per step instead of a dozen times.
    """
    groups = parameter_groups(network, settings)
    decay = settings.weight_decay
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(groups, weight_decay=decay, fused=True)
    if settings.optimiser == "adam":
        return torch.optim.Adam(groups, weight_decay=decay, fused=True)
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(groups, alpha=_RMSPROP_DECAY, weight_decay=decay)
    return torch.optim.SGD(
        groups, momentum=_SGD_MOMENTUM, nesterov=True, weight_decay=decay, fused=True
    )


def set_rate(
    optimiser: torch.optim.Optimizer, settings: NetworkSettings, step: int, total: int
) -> None:
    """Set the learning rate of a step, counted from 0, of ``total``."""
    share = rate(step, total, settings)
    for group in optimiser.param_groups:
        group["lr"] = group["top"] * share


def rate(step: int, total: int, settings: NetworkSettings) -> float:
    """Learning rate of a step relative to the peak.

    Linear warm-up over the first ``warm_up`` of the steps, then cosine decay to 0 (Loshchilov and
    Hutter, SGDR, 2017), or constant.
    """
    warm = math.ceil(total * settings.warm_up)
    if step < warm:
        return (step + 1) / warm
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(total - warm, 1)))


def even_share(counts: tuple[int, ...]) -> tuple[float, ...]:
    """Balanced class weights n / (k * n_c) for each of k classes; 0 where n_c is 0."""
    present = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (present * count) if count else 0.0 for count in counts)


def soft_targets(labels: torch.Tensor, classes: int, settings: NetworkSettings) -> torch.Tensor:
    """Label-smoothed one-hot targets, float32 (n, classes)."""
    sure = nn.functional.one_hot(labels, classes).float()
    return sure * (1.0 - settings.label_smoothing) + settings.label_smoothing / classes


def mix(
    pixels: torch.Tensor, targets: torch.Tensor, alpha: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each image with another of its batch, and their targets.

    mixup of Zhang et al., 2018: x = l x_i + (1 - l) x_j with l from Beta(alpha, alpha), one
    per batch; the image itself has the larger weight.

    Args:
        pixels: (n, h, w), uint8 or float.
        targets: (n, classes).
        alpha: above 0.
        rng: draws the share and the pairs.

    Returns:
        Pixels, float32, and targets.
    """
    share = float(rng.beta(alpha, alpha))
    share = max(share, 1.0 - share)
    other = torch.from_numpy(rng.permutation(len(pixels))).to(pixels.device)
    grey = pixels.float()
    mixed = share * grey + (1.0 - share) * grey[other]
    return mixed, share * targets + (1.0 - share) * targets[other]


def loss_of(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
) -> torch.Tensor:
    """Mean over the images of - sum_c w_c t_c log p_c, in nats."""
    return nn.functional.cross_entropy(logits.float(), targets, weight=weights)
