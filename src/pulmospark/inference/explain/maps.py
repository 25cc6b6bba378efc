"""What a network's heat map is computed from: methods, their interface, and class contrasts."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import numpy as np

from pulmospark.core.arrays import Ints, Pixels, Reals, Singles

Method = Literal["cam", "attention", "hires_cam", "grad_cam"]
"""how a map is computed:

``cam``: the exact class activation map (Zhou et al. 2016), where the head is linear on the last
map, averaged or flattened; ``attention``: gradient-weighted attention rollout (Chefer et al.
2021); ``hires_cam`` and ``grad_cam``: the last convolution map weighted by its gradient, value by
value (Draelos and Carin 2020) or by each channel's mean gradient (Selvaraju et al. 2017)
"""
MethodChoice = Literal["auto", "cam", "attention", "hires_cam", "grad_cam"]
"""``auto``: ``cam`` where it is exact, else ``attention`` for transformers, else ``hires_cam``,
which keeps to where the head finds its evidence if it weights places differently"""


class MapOutput(NamedTuple):
    """Outputs of one run for n images."""

    logits: Singles
    """(n, classes), before the temperature"""
    features: Singles | None
    """(n, width); ``None``: the engine does not return them"""
    raw: Singles
    """(n, rows, columns): evidence for a class against the others, on the grid of the last map.
    ``cam``: the sum over the grid is the class's logit minus the others' mean, without the
    biases."""
    places: Ints
    """(n,) the class of each map, in the order of the logits"""


class MapSource(Protocol):
    """Computes logits and heat maps of standard images. Calls from several threads are
    serialised."""

    @property
    def method(self) -> Method:
        """How."""
        ...

    def run(self, pixels: Pixels, places: Ints | None = None) -> MapOutput:
        """Run any number of images.

        Args:
            pixels: (n, size, size) grey levels.
            places: (n,) the class of each map; ``None``: the most probable one.

        Raises:
            UsageError: ``pixels`` has another shape or type.
        """
        ...


def chosen(logits: Reals, places: Ints | None) -> Ints:
    """The class of each map, (n,): as given, or the most probable one."""
    return logits.argmax(axis=1).astype(np.int64) if places is None else places


def contrast_weights(places: Ints, classes: int) -> Singles:
    """Weights (n, classes) of the logits: 1 for a class, and equal negative ones for the others.

    Only differences of logits matter to probabilities, and a head with one logit has none for its
    first class.
    """
    weights = np.full((len(places), classes), -1.0 / (classes - 1), np.float32)
    weights[np.arange(len(places)), places] = 1.0
    return weights
