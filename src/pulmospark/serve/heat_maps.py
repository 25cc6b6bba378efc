"""Heat maps of the served model, as PNG files for the page and the REST interface."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pulmospark.core import serve_limits
from pulmospark.core.arrays import Pixels, Singles
from pulmospark.imaging.image import StandardImage
from pulmospark.inference.explain.explainer import Explainer
from pulmospark.inference.explain.heat_map import HeatMap
from pulmospark.inference.explain.overlay import draw_overlay

if TYPE_CHECKING:  # it imports torch
    from pulmospark.inference.engine.spec import EngineSpec
    from pulmospark.models.bundle.bundle import Bundle


@dataclass(frozen=True, eq=False)
class HeatMapFile:
    """A heat map as it is kept and shown."""

    png: bytes
    """RGBA, in the original image's proportions: the hotter, the more opaque"""
    method: str
    class_name: str
    outside_lungs: float | None


class ModelHeatMaps:
    """The explainers of a model: one for each worker, opened when it is first asked for a map.

    Args:
        bundle: of the model.
        engine: that scores.
        workers: number of workers.
    """

    def __init__(self, bundle: Bundle, engine: EngineSpec, workers: int) -> None:
        self._bundle, self._engine = bundle, engine
        self._locks = [threading.Lock() for _ in range(workers)]
        self._explainers: list[Explainer | None] = [None] * workers

    def open(self, place: int) -> Explainer:
        """A worker's explainer.

        Args:
            place: of the worker, from 0.

        Raises:
            UsageError: the network has no heat maps.
            PlatformError: no space, or no right to write.
        """
        with self._locks[place]:
            explainer = self._explainers[place]
            if explainer is None:
                explainer = Explainer.open(self._bundle, engine=self._engine)
                self._explainers[place] = explainer
            return explainer

    def of(self, place: int, image: StandardImage) -> HeatMapFile:
        """The heat map of an image for its most probable class; errors of :meth:`open`."""
        return _file_of(self.open(place).explain(image))


def _file_of(heat: HeatMap) -> HeatMapFile:
    rows, columns = heat.placement.height, heat.placement.width
    scale = min(1.0, serve_limits.SERVE_HEAT_MAP_SIDE / max(rows, columns))
    shape = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    levels = np.rint(heat.resampled(shape) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2BGRA)
    colours[..., 3] = levels
    is_done, content = cv2.imencode(".png", colours, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert is_done
    return HeatMapFile(content.tobytes(), heat.method, heat.class_name, heat.outside_lungs)


def laid_over(grey: Pixels, png: bytes, title: str, *, phantom: bool) -> bytes:
    """A picture of an image with its heat map, a colour bar and words; a PNG file.

    Args:
        grey: (rows, columns) of the image.
        png: of :class:`HeatMapFile`.
        title: what the map shows.
        phantom: the image is a phantom.
    """
    content = np.frombuffer(png, np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    assert picture is not None
    levels = picture[..., 3].astype(np.float32) / 255

    def heat_at(shape: tuple[int, int]) -> Singles:
        heat = cv2.resize(levels, shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(heat, np.float32)

    return draw_overlay(grey, heat_at, title, phantom=phantom)
