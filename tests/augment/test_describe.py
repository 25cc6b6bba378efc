"""Augmentation in words."""

from __future__ import annotations

import pytest

from pulmospark.augment.describe import told_operations
from pulmospark.augment.operations import OperationName
from pulmospark.config.augment import AugmentSettings


def test_the_defaults_name_what_is_drawn_how_often_and_how_far() -> None:
    described = {
        operation.name: (operation.probability, operation.reach)
        for operation in told_operations(AugmentSettings())
    }
    assert described[OperationName.ROTATION] == (0.5, "up to 7 degrees in either direction")
    assert described[OperationName.ZOOM] == (0.5, "1/1.08 to 1.08 times")
    assert described[OperationName.SHIFT] == (0.5, "up to 4 % of the side in each direction")
    assert described[OperationName.BRIGHTNESS] == (0.5, "up to 8 % of the grey levels, up or down")
    assert OperationName.FLIP not in described


@pytest.mark.parametrize("name", list(OperationName))
def test_each_operation_has_words(name: OperationName) -> None:
    off = {operation.value: {"probability": 0.0} for operation in OperationName}
    settings = AugmentSettings.model_validate(off | {name.value: {"probability": 0.25}})
    (described,) = told_operations(settings)
    assert (described.name, described.probability) == (name, 0.25)
    assert described.reach
