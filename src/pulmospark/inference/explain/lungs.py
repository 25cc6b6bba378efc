"""How much of a heat map lies outside the lungs."""

from __future__ import annotations

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels, Singles
from pulmospark.imaging.lung_segmentation import segment_lungs
from pulmospark.imaging.placement import Placement


def share_outside_lungs(standard: Pixels, heat: Singles, placement: Placement) -> float | None:
    """Share of a map outside the lungs, as a simple method finds them.

    Padding counts as outside.

    Args:
        standard: (size, size) uint8, a frontal image.
        heat: (size, size) float32, 0 and above.
        placement: of the original in the standard image.

    Returns:
        0 to 1; ``None``: no lungs were found, the standard image shows too little of the original
        to look for them, or there is no heat.
    """
    top, left, bottom, right = placement.visible()
    shown = (bottom - top) * (right - left) / (placement.scale[0] * placement.scale[1])
    if shown < limits.HEAT_MAP_LUNGS_SHARE_MIN * placement.height * placement.width:
        return None
    total = float(heat.sum())
    lungs = segment_lungs(standard[top:bottom, left:right])
    if lungs is None or not total > 0:
        return None
    return 1.0 - float(heat[top:bottom, left:right][lungs].sum()) / total
