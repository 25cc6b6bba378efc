"""Training settings: user values, defaulting to the model's recipe."""

from __future__ import annotations

from dataclasses import asdict

from pulmospark.config.train import NetworkOptions, NetworkSettings, TrainSettings
from pulmospark.models.zoo.catalogue import entry


def network_settings(train: TrainSettings) -> NetworkSettings:
    """The complete settings for training a CNN; see :func:`completed`.

    Args:
        train: the settings.
    """
    started = train.start is not None or train.weights != "none"
    return completed(train.network, train.model, started=started)


def completed(options: NetworkOptions, model: str, *, started: bool) -> NetworkSettings:
    """Complete user options with the model's recipe.

    The zoo has two recipes for each network: fine-tuning and training from scratch.

    Args:
        options: user options, which take precedence.
        model: name of the network.
        started: starts from ImageNet's or a bundle's weights instead of random ones.

    Raises:
        UsageError: the network is unknown.
    """
    recipe = entry(model).fine_tuning if started else entry(model).from_scratch
    given = {name: value for name, value in options.model_dump().items() if value is not None}
    return NetworkSettings(**{**asdict(recipe), **given})
