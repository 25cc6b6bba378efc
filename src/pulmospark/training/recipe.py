"""What a training is told: a user's own values, and the network's own where he gave none."""

from __future__ import annotations

from dataclasses import asdict

from pulmospark.core.settings import NetworkSettings, TrainSettings
from pulmospark.models.catalogue import entry


def network_settings(train: TrainSettings) -> NetworkSettings:
    """The settings of a CNN's training with nothing left open.

    A network that starts from weights, ImageNet's or a bundle's, is fine-tuned; else it is
    trained from scratch. The zoo has a recipe for each.

    Args:
        train: the settings; a value that they give wins.

    Raises:
        UsageError: there is no network of that name.
    """
    known = entry(train.model)
    started = train.start is not None or train.weights != "none"
    recipe = known.fine_tuning if started else known.from_scratch
    given = {
        name: value for name, value in train.network.model_dump().items() if value is not None
    }
    return NetworkSettings(**{**asdict(recipe), **given})
