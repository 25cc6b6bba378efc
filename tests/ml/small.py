"""Params of a network that takes no time and no weights."""

from __future__ import annotations

from typing import TypedDict


class Small(TypedDict):
    """What :class:`ImageFeaturizer` and :class:`CnnClassifier` both take."""

    modelName: str
    weights: str
    imageSize: int
    workDir: str
