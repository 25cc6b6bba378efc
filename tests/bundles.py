"""A bundle for tests of what uses bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from pulmospark.models.bundle.bundle import (
    BundleConfig,
    BundleOperatingPoint,
    CardFacts,
    write_bundle,
)
from pulmospark.models.zoo import networks
from pulmospark.training.feature_distance import statistics_of


def write_untrained(
    folder: Path,
    seed: int = 1,
    *,
    crop: Literal["none", "lungs"] = "none",
    ct_window: Literal["lung", "soft", "header"] = "lung",
    fit: Literal["stretch", "pad", "crop"] = "stretch",
    equalise: bool = False,
    mean: tuple[float, ...] | None = None,
    phantoms: bool = False,
    trained_on: npt.NDArray[np.uint8] | None = None,
    **data: Any,
) -> Path:
    """A bundle of a basic CNN that has learnt nothing: its answers are sound, and no more.

    Args:
        folder: of the bundle.
        seed: of its weights.
        crop: what its images are cut to.
        ct_window: of CT slices.
        fit: how its images become squares.
        equalise: whether its images' histograms are equalised.
        mean: that its images are standardised by.
        phantoms: whether it says that it was trained on phantoms.
        trained_on: (n, 64, 64) images whose features it has statistics of.
        data: what it says of the data it was made from.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = networks.build("basic_cnn", 3, mean=mean)
    point = BundleOperatingPoint(
        positive_class="COVID-19",
        threshold=0.3,
        sensitivity_target=0.9,
        chosen_on=40,
        reached=True,
    )
    found = None
    if trained_on is not None:
        with torch.no_grad():
            features = network.eval().features(torch.from_numpy(trained_on)).numpy()
        found = statistics_of(features, np.arange(len(features)))
        assert found is not None
    config = BundleConfig.for_network(
        network,
        classes=("COVID-19", "normal", "=pneumonia"),
        input_size=64,
        fit=fit,
        equalise=equalise,
        crop=crop,
        ct_window=ct_window,
        temperature=0.1,
        method="network",
        operating_points=(point,),
        data=data,
        phantoms=phantoms,
        distance=found.facts if found else None,
    )
    file = found.content if found else None
    write_bundle(folder, network, config, {}, CardFacts(name="untrained"), distance=file)
    return folder
