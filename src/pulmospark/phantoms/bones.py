"""Ribs, clavicles, scapulae and spine of a frontal phantom."""

from __future__ import annotations

import cv2
import numpy as np

from pulmospark.core.arrays import Pixels, Reals, Singles
from pulmospark.phantoms.anatomy import SIDES, Anatomy, Canvas, Lung, Pose
from pulmospark.phantoms.brushes import bands, enlarge, fade, polygon_into, soft_unit


def rib_curves(anatomy: Anatomy, lung: Lung) -> tuple[list[Reals], list[Reals]]:
    """Middle lines of one side's ribs, back parts and front parts; (points, 2) each, mm."""
    index = np.arange(anatomy.ribs)[:, None]
    v = np.linspace(0, 1, 15)
    root = -10 + anatomy.rib_spacing * index
    drop = (14 + 4.2 * index) * anatomy.rib_slope
    end = root + drop
    wall = lung.outer(np.maximum(end, 6.0)) + 3.0
    wall = np.maximum(wall, 64.0 + 14 * np.minimum(index, 2))
    x = 16 + (wall - 16) * np.sin(v * np.pi / 2) ** 0.92
    y = root - 7.5 * np.sin(np.pi * np.clip(v * 1.35, 0, 1)) + drop * v**2.4
    back = np.stack([lung.side * x + lung.shift, y], axis=2)
    reach = 0.40 + 0.030 * index
    low = (40 + 3.0 * index) * anatomy.rib_slope
    x = wall - (wall * (1 - reach)) * v**1.25
    y = end + low * np.sin(v * np.pi / 2) ** 0.85
    front = np.stack([lung.side * x + lung.shift, y], axis=2)
    return list(back), list(front[: anatomy.ribs - 3])


def _tubes(
    layer: Pixels,
    canvas: Canvas,
    curves: list[Reals],
    *,
    width: float,
    rim: float,
    value: int,
) -> None:
    """Bands that are denser at their rims, as hollow bones are."""
    bands(layer, canvas, curves, width, value)
    bands(layer, canvas, curves, width - 2 * rim, round(0.62 * value))


def ribs(canvas: Canvas, anatomy: Anatomy, both: tuple[Lung, Lung]) -> Singles:
    """Absorbance of all ribs, float32 of the canvas's shape."""
    hind = np.zeros(canvas.shape, np.uint8)
    fore = np.zeros(canvas.shape, np.uint8)
    for lung in both:
        back, front = rib_curves(anatomy, lung)
        _tubes(hind, canvas, back, width=9.5, rim=1.5, value=136)
        _tubes(fore, canvas, front, width=11.5, rim=1.6, value=80)
    layer = soft_unit(cv2.add(hind, fore), 0.6 * canvas.scale)
    layer *= np.float32(0.25 * anatomy.bone)
    return layer


def shoulders(canvas: Canvas, anatomy: Anatomy, pose: Pose) -> Singles:
    """Absorbance of clavicles, scapulae and upper arms, float32 of the canvas's shape."""
    wide = anatomy.half_width / 133
    fore = np.zeros(canvas.shape, np.uint8)
    hind = np.zeros(canvas.shape, np.uint8)
    lift = -6.0 if pose.supine else 0.0
    v = np.linspace(0, 1, 13)
    for side in SIDES:
        turn = pose.turn * (1 + 0.3 * side)
        x = 14 + 136 * wide * v
        y = 27 + lift - 36 * v - 9 * np.sin(2 * np.pi * v) * (1 - 0.3 * v)
        curve = np.stack([side * x + turn, y], axis=1)
        inward = 16 if pose.supine else 0
        edge = np.array(
            [(148, 2), (164, 30), (150, 70), (132 - inward, 146), (118 - inward, 138), (112, 52)]
        ) * [wide, 1]
        arm = np.array([(164, 14), (169, 24), (176, 60), (188, 160), (198, 330)]) * [wide, 1]
        edge[:, 0] = side * edge[:, 0] + turn
        arm[:, 0] *= side
        polygon_into(hind, canvas, edge, 42)
        bands(hind, canvas, [edge[2:5]], 3.0, 80)
        _tubes(fore, canvas, [arm[1:]], width=22.0, rim=4.0, value=110)
        bands(fore, canvas, [arm[:2]], 36.0, 96)
        _tubes(fore, canvas, [curve], width=11.0, rim=1.6, value=130)
    layer = soft_unit(cv2.add(fore, hind), 0.9 * canvas.scale)
    layer *= np.float32(0.30 * anatomy.bone)
    return layer


def spine(canvas: Canvas, anatomy: Anatomy, pose: Pose) -> Singles:
    """Absorbance of the spine, a column with discs, float32 of the canvas's shape."""
    small = canvas.coarse(2)
    x = (small.x - np.float32(pose.turn * 0.3)) / np.float32(18.0)
    column = fade((np.abs(x) - 1) * 7)
    pedicles = np.exp(-(((np.abs(x) - 0.62) / 0.16) ** 2))
    phase = (small.y + 10) / np.float32(anatomy.rib_spacing) * np.float32(2 * np.pi)
    bodies = 0.82 + 0.18 * np.tanh(2.2 * np.cos(phase))
    knots = np.clip(np.cos(phase + 0.9), 0, 1) ** 4
    deeper = np.clip(0.62 + small.y / 600, 0.5, 1.1)
    both = column * bodies * deeper + 0.30 * pedicles * knots
    return enlarge((both * (0.15 * anatomy.bone)).astype(np.float32), canvas.shape)
