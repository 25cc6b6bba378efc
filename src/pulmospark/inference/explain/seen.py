"""An image as the network sees it, with what a heat map needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import Modality, View
from pulmospark.imaging.placement import Fit, Placement

if TYPE_CHECKING:
    from pulmospark.imaging.image import StandardImage

Image: TypeAlias = "StandardImage | Pixels"
"""a standard image, or its (size, size) uint8 grey levels, which then count as the original"""

_WITHOUT_LUNGS = frozenset({View.LATERAL, View.AXIAL})
"""views in which the finder of lungs, made for frontal images, finds none"""


@dataclass(frozen=True, eq=False)
class Seen:
    """An image as the network sees it.

    Attributes:
        pixels: (size, size) uint8 grey levels.
        placement: of the original in it.
        frontal: lungs may be searched for: it is neither a CT slice nor a lateral view.
        phantom: it is a phantom.
    """

    pixels: Pixels
    placement: Placement
    frontal: bool = True
    phantom: bool = False


def seen(image: Image) -> Seen:
    """What is seen of a standard image, or of bare pixels."""
    if isinstance(image, np.ndarray):
        return Seen(image, Placement.identity(len(image)))
    header = image.header
    view = header.view if header else image.view
    is_ct = header is not None and header.modality is Modality.CT
    return Seen(
        image.pixels,
        image.placement or Placement.identity(len(image.pixels)),
        frontal=not is_ct and view not in _WITHOUT_LUNGS,
        phantom=image.phantom,
    )


def seen_row(row: Mapping[str, Any], pixels: Pixels, fit: Fit, *, cropped: bool) -> Seen:
    """What is seen of a row of an images table.

    Args:
        row: ``height``, ``width``, ``view`` and ``phantom``, as far as the table has them.
        pixels: (size, size) uint8 grey levels.
        fit: how the table's images were made square.
        cropped: they were cropped before, the table does not say where: the standard image then
            counts as the original.
    """
    size, shape = len(pixels), (row.get("height"), row.get("width"))
    known = None not in shape and not cropped
    return Seen(
        pixels,
        Placement.of(shape, shape, size, fit) if known else Placement.identity(size),  # type: ignore[arg-type]
        frontal=not cropped and row.get("view") not in _WITHOUT_LUNGS,
        phantom=bool(row.get("phantom")),
    )
