"""Settings of the expansion: augmented copies as a table of their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pulmospark.config.augment import AugmentSettings
from pulmospark.config.base import Settings
from pulmospark.core import limits


class ExpandSettings(Settings):
    """Augmentation as a separate table, made before training."""

    per_class: Annotated[int, Field(ge=1, le=limits.EXPAND_PER_CLASS_MAX)]
    """rows per class afterwards, including the images themselves"""
    augment: AugmentSettings = AugmentSettings()
    """augmentation of the images"""
