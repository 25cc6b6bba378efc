"""Augmentation in words."""

from __future__ import annotations

import pytest

from pulmospark.augment.describe import active_transforms
from pulmospark.augment.transforms.registry import TRANSFORMS
from pulmospark.config.augment import AugmentSettings


def test_the_defaults_name_what_is_drawn_how_often_and_how_far() -> None:
    described = {
        operation.name: (operation.probability, operation.strength)
        for operation in active_transforms(AugmentSettings())
    }
    assert described["rotation"] == (0.5, "up to 7 degrees in either direction")
    assert described["zoom"] == (0.5, "1/1.08 to 1.08 times")
    assert described["shift"] == (0.5, "up to 4 % of the side in each direction")
    assert described["brightness"] == (0.5, "up to 8 % of the grey levels, up or down")
    assert "flip" not in described


@pytest.mark.parametrize("name", [each.name for each in TRANSFORMS])
def test_each_operation_has_words(name: str) -> None:
    off = {operation.name: {"probability": 0.0} for operation in TRANSFORMS}
    settings = AugmentSettings.model_validate(off | {name: {"probability": 0.25}})
    (described,) = active_transforms(settings)
    assert (described.name, described.probability) == (name, 0.25)
    assert described.strength
