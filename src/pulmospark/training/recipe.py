"""What a training is told: a user's own values, and the network's own where he gave none."""

from __future__ import annotations

from dataclasses import asdict

from pulmospark.core.settings import NetworkOptions, NetworkSettings, TrainSettings
from pulmospark.models.catalogue import entry


def network_settings(train: TrainSettings) -> NetworkSettings:
    """The settings of a CNN's training with nothing left open; see :func:`completed`.

    Args:
        train: the settings.
    """
    started = train.start is not None or train.weights != "none"
    return completed(train.network, train.model, started=started)


def completed(options: NetworkOptions, model: str, *, started: bool) -> NetworkSettings:
    """Options with nothing left open: what they give wins, the rest is the network's own.

    The zoo has two recipes of each network, for fine-tuning and from scratch.

    Args:
        options: a user's.
        model: name of the network.
        started: it starts from weights, ImageNet's or a bundle's, and not from random ones.

    Raises:
        UsageError: there is no network of that name.
    """
    recipe = entry(model).fine_tuning if started else entry(model).from_scratch
    given = {name: value for name, value in options.model_dump().items() if value is not None}
    return NetworkSettings(**{**asdict(recipe), **given})
