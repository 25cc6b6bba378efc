"""A heat map: where in an image a network found evidence for a class."""

from __future__ import annotations

import base64
import functools
import io
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from pulmospark.core import files, limits
from pulmospark.core.arrays import Mask, Pixels, Singles
from pulmospark.core.safe_text import one_line
from pulmospark.imaging.placement import Placement
from pulmospark.inference.explain.maps import Method
from pulmospark.inference.explain.overlay import draw_overlay

_TITLES: dict[Method, str] = {
    "cam": "class activation map",
    "hires_cam": "HiResCAM",
    "grad_cam": "Grad-CAM",
    "attention": "attention, gradient-weighted",
}
_ROWS, _COLUMNS = ("upper", "middle", "lower"), ("left", "centre", "right")
_ZONES_NAMED = 2
_ZONE_LEAST = 0.1


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Where a network found evidence for a class, against the other classes.

    Notebooks display it as a picture.

    Attributes:
        raw: (rows, columns) float32 on the grid of the last map; negative where the image
            speaks for the other classes. Of ``cam`` the sum is the class's logit minus the mean
            of the others, without the biases.
        method: how it was computed, see :data:`pulmospark.inference.explain.maps.Method`.
        class_name: the class.
        placement: of the original in the standard image.
        standard: (size, size) uint8, the image as the network saw it.
        outside_lungs: share of the evidence for the class that lies outside the lungs, 0 to 1;
            ``None``: no lungs were found, or there is no evidence for the class.
        phantom: the image is a phantom.
        original: (h, w) uint8, the original at any scale, for the picture; ``None``: not known.

    Example:
        >>> heat = ps.load("runs/mine/bundle").explain("image.png")
        >>> heat.hottest(0.05).shape == heat.map.shape
        True
    """

    raw: Singles
    method: Method
    class_name: str
    placement: Placement
    standard: Pixels
    outside_lungs: float | None = None
    phantom: bool = False
    original: Pixels | None = None

    @functools.cached_property
    def map(self) -> Singles:
        """The map in the original's coordinates.

        Returns:
            (height, width) of the original, float32: evidence for the class from 0 to 1, relative
            to the highest; 0 everywhere if there is none.
        """
        return self.resampled((self.placement.height, self.placement.width))

    def resampled(self, shape: tuple[int, int]) -> Singles:
        """As :attr:`map`, for an original of another size.

        Args:
            shape: (rows, columns) of the original, pixels.

        Returns:
            float32 of that shape, 0 to 1.
        """
        heat = relative_heat(self.raw, self.placement.size)
        return np.clip(self.placement.to_original(heat, shape), 0.0, 1.0)

    @property
    def title(self) -> str:
        """What the picture shows, in words."""
        return f"evidence for {self._class} ({_TITLES[self.method]})"

    def hottest(self, share: float = 0.1) -> Mask:
        """The hottest part of the original, of :attr:`map`'s shape.

        Args:
            share: of the pixels, 0 to 1; fewer where there is less heat. Of pixels that are
                equally hot at the limit, none is chosen before another.
        """
        return hottest_of(self.map, share)

    def where(self) -> str:
        """Where the hottest tenth of the image lies, and how much heat lies outside the lungs."""
        text = f"hottest tenth: {self.hottest_tenth()}"
        if self.outside_lungs is not None:
            text += f"; {_percent(self.outside_lungs)} of the heat lies outside the lungs"
        return text

    def hottest_tenth(self) -> str:
        """Where the hottest tenth of the image lies, in plain words.

        Left and right are those of the image, not of the patient.
        """
        side = 3 * 32  # whole fields of the nine zones
        hot = hottest_of(self.resampled((side, side)), 0.1)
        if not hot.any():
            return f"no evidence for {self._class} in any part of the image"
        zones = hot.reshape(3, 32, 3, 32).sum(axis=(1, 3)) / hot.sum()
        order = np.argsort(-zones, axis=None, kind="stable")[:_ZONES_NAMED]
        named = [
            f"{_percent(zones.flat[place])} in the {_zone(int(place))}"
            for place in order
            if zones.flat[place] >= _ZONE_LEAST
        ]
        return f"{' and '.join(named)} of the image"

    def overlay(self, image: Pixels | None = None) -> bytes:
        """A picture of the map on its image.

        It has a colour bar, the class, the method and the words "not a medical device".

        Args:
            image: (h, w) uint8 grey, the original, upright, at any scale; ``None``:
                :attr:`original` or, failing that, the standard image in the original's
                proportions.

        Returns:
            A PNG file, the image's longer side 384 to 768 pixels
            (``limits.HEAT_MAP_PICTURE_SIDE_MAX``).
        """
        if image is None:
            image = self.original
        if image is None:
            shape = self._proportions()
            image = np.rint(
                self.placement.to_original(self.standard.astype(np.float32), shape)
            ).astype(np.uint8)
        return draw_overlay(image, self.resampled, self.title, phantom=self.phantom)

    def array_file(self) -> bytes:
        """:attr:`map` as the content of a ``.npy`` file; 4 bytes for each pixel."""
        content = io.BytesIO()
        np.save(content, self.map, allow_pickle=False)
        return content.getvalue()

    def save(
        self,
        folder: Path,
        stem: str,
        *,
        image: Pixels | None = None,
        picture: bool = True,
        array: bool = True,
    ) -> list[Path]:
        """Write ``STEM.png`` and ``STEM.npy``, each atomically; existing files are replaced.

        Args:
            folder: is created if needed.
            stem: name without its ending; never text from outside.
            image: (h, w); see :meth:`overlay`.
            picture: write the picture.
            array: write the array.

        Returns:
            The files, the picture first.

        Raises:
            PlatformError: no space, or no right to write there.
        """
        contents: dict[str, bytes] = {}
        if picture:
            contents[".png"] = self.overlay(image)
        if array:
            contents[".npy"] = self.array_file()
        with files.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for ending, content in contents.items():
                files.write_bytes(folder / f"{stem}{ending}", content)
        return [folder / f"{stem}{ending}" for ending in contents]

    def __repr__(self) -> str:
        return f"<HeatMap: {self.title}; {self.where()}>"

    def _repr_png_(self) -> bytes:
        return self.overlay()

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.overlay()).decode()
        words = escape(f"{self.title}; {self.where()}")
        return f'<img alt="{words}" src="data:image/png;base64,{picture}"><p>{words}</p>'

    @property
    def _class(self) -> str:
        return one_line(self.class_name, limits.NAME_CHARS_MAX)

    def _proportions(self) -> tuple[int, int]:
        """Rows and columns of the original at the standard image's resolution."""
        place = self.placement
        longest = max(place.height, place.width)
        side = min(longest, max(place.size, 1))
        return (
            max(1, round(place.height * side / longest)),
            max(1, round(place.width * side / longest)),
        )


def relative_heat(raw: Singles, size: int) -> Singles:
    """Evidence for the class on the standard image: 0 to 1 of the highest, linearly interpolated.

    Args:
        raw: (rows, columns); negative values count as 0.
        size: side of the standard image, pixels.

    Returns:
        (size, size) float32; 0 everywhere where no value is positive.
    """
    positive = np.maximum(raw, 0.0).astype(np.float32)
    if not (highest := positive.max(initial=0.0)) > 0 or not np.isfinite(highest):
        return np.zeros((size, size), np.float32)
    heat = cv2.resize(positive / highest, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(heat, np.float32)


def hottest_of(heat: Singles, share: float) -> Mask:
    """The hottest pixels of an (h, w) map, about ``share`` of them; none where nothing is hot."""
    limit = np.quantile(heat, 1.0 - share)
    above = heat > limit if limit < heat.max() else heat >= limit
    return np.asarray(above & (heat > 0), np.bool_)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _zone(place: int) -> str:
    row, column = _ROWS[place // 3], _COLUMNS[place % 3]
    if (row, column) == ("middle", "centre"):
        return "centre"
    return f"{row} {column}"
