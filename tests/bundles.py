"""A bundle for tests of what uses bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from pulmospark.models import zoo
from pulmospark.models.bundle import BundleConfig, BundleOperatingPoint, CardFacts, write_bundle


def write_untrained(
    folder: Path,
    seed: int = 1,
    *,
    crop: Literal["none", "lungs"] = "none",
    mean: tuple[float, ...] | None = None,
    **data: Any,
) -> Path:
    """A bundle of a basic CNN that has learnt nothing: its answers are sound, and no more.

    Args:
        folder: of the bundle.
        seed: of its weights.
        crop: what its films are cut to.
        mean: that its films are standardised by.
        data: what it says of the data it was made from.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = zoo.build("basic_cnn", 3, mean=mean)
    point = BundleOperatingPoint(
        positive_class="COVID-19",
        threshold=0.3,
        sensitivity_target=0.9,
        chosen_on=40,
        reached=True,
    )
    config = BundleConfig.for_network(
        network,
        classes=("COVID-19", "normal", "=pneumonia"),
        input_size=64,
        fit="stretch",
        crop=crop,
        temperature=0.1,
        method="network",
        operating_points=(point,),
        data=data,
    )
    write_bundle(folder, network, config, {}, CardFacts(name="untrained"))
    return folder
