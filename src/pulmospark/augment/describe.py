"""Describe augmentation: transforms, their probability and strength."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pulmospark.augment.transforms import registry
from pulmospark.config.augment import AugmentSettings


@dataclass(frozen=True)
class ActiveTransform:
    """Description of an active transform.

    Attributes:
        name: of the transform.
        probability: of applying it, 0 to 1.
        strength: as text.
    """

    name: str
    probability: float
    strength: str


def active_transforms(settings: AugmentSettings) -> tuple[ActiveTransform, ...]:
    """The active transforms, in the order of application."""
    descriptions = []
    for transform in registry.TRANSFORMS:
        own: Any = getattr(settings, transform.name)
        if own.probability:
            descriptions.append(
                ActiveTransform(transform.name, own.probability, transform.strength(own))
            )
    return tuple(descriptions)
