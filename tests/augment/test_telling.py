"""Augmentation in words."""

from __future__ import annotations

import pytest

from pulmospark.augment.operations import OperationName
from pulmospark.augment.telling import told_operations
from pulmospark.core.augment_settings import AugmentSettings


def test_the_defaults_name_what_is_drawn_how_often_and_how_far() -> None:
    told = {one.name: (one.probability, one.reach) for one in told_operations(AugmentSettings())}
    assert told[OperationName.ROTATION] == (0.5, "up to 7 degrees to either side")
    assert told[OperationName.ZOOM] == (0.5, "1/1.08 to 1.08 times")
    assert told[OperationName.SHIFT] == (0.5, "up to 4 % of the side, each way")
    assert told[OperationName.BRIGHTNESS] == (0.5, "up to 8 % of the grey levels, up or down")
    assert OperationName.FLIP not in told


@pytest.mark.parametrize("name", list(OperationName))
def test_each_operation_has_words(name: OperationName) -> None:
    off = {one.value: {"probability": 0.0} for one in OperationName}
    settings = AugmentSettings.model_validate(off | {name.value: {"probability": 0.25}})
    (told,) = told_operations(settings)
    assert (told.name, told.probability) == (name, 0.25)
    assert told.reach
