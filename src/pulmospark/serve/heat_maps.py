"""Heat maps of the service: the explainer of the served model, and maps as PNG."""

from __future__ import annotations

from dataclasses import dataclass

from pulmospark.imaging.image import StandardImage
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.served_model import ServedModel


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A heat map, ready to be stored and shown."""

    png: bytes
    """the map alone, RGBA: transparent where it is cold"""
    method: str
    class_name: str
    outside_lungs: float | None


NOT_THERE = "heat maps are not built into this version: ask without heatmap=true"


def is_available(model: ServedModel) -> bool:
    """Whether the model has heat maps."""
    del model
    return False


def check_available(model: ServedModel) -> None:
    """Refuse a request for heat maps that cannot be answered.

    Raises:
        ServiceError: 501, with the reason.
    """
    del model
    raise ServiceError(501, NOT_THERE)


def explain(model: ServedModel, image: StandardImage) -> HeatMap:
    """The heat map of an image for its predicted class."""
    del image
    check_available(model)
    raise AssertionError("unreachable")
