"""A logistic regression on deep features, as the network's last layer."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from pulmospark.core.arrays import Floats
from pulmospark.core.errors import UsageError
from pulmospark.models.zoo.network import Network


def set_linear_head(network: Network, coefficients: ArrayLike, intercept: ArrayLike) -> None:
    """Write a multinomial logistic regression into the head.

    The head's logits are then the regression's margins, and their softmax its probabilities.
    Coefficients must be on the scale of the network's features. A one-logit head takes the
    difference of the two rows, which gives the same probabilities.

    Args:
        network: changed in place.
        coefficients: (classes, width), in the order of the classes.
        intercept: (classes,).

    Raises:
        UsageError: wrong shape, or a value that is not a finite float32.
    """
    weight = np.array(coefficients, dtype=np.float64)
    bias = np.array(intercept, dtype=np.float64)
    wanted = (network.classes, network.width)
    if weight.shape != wanted or bias.shape != wanted[:1]:
        raise UsageError(
            f"coefficients {weight.shape} and intercept {bias.shape}: the head expects {wanted} "
            f"and {wanted[:1]}; give a binary regression as two rows, the first zero"
        )
    largest = np.finfo(np.float32).max
    if not all(np.all(np.abs(values) <= largest) for values in (weight, bias)):  # NaN too
        raise UsageError("coefficients or intercept are not finite: the regression diverged")
    if network.single_logit:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(weight))
        network.head.bias.copy_(torch.from_numpy(bias))


def head_as_regression(network: Network) -> tuple[Floats, Floats]:
    """The head as a multinomial regression: coefficients (classes, width), intercept (classes,).

    A one-logit head gets a row of zeros as the first row.
    """
    weight = network.head.weight.detach().double().cpu().numpy()
    bias = network.head.bias.detach().double().cpu().numpy()
    if network.single_logit:
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.concatenate([np.zeros_like(bias), bias])
    return weight, bias
