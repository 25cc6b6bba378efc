"""A lateral chest phantom: spine behind (right of the image), breastbone in front."""

from __future__ import annotations

import numpy as np

from pulmospark.core.arrays import Reals, Singles
from pulmospark.phantoms.anatomy import Anatomy, Canvas, Pose
from pulmospark.phantoms.brushes import (
    bands,
    blur,
    cloud,
    ellipse,
    fade,
    polygon,
    polygon_into,
    soft_unit,
)


def _lung(deep: float, low: float) -> Reals:
    return np.array(
        [
            (6, -6), (-26, 4), (-52, 40), (-0.86 * deep, 90), (-deep, 150),
            (-0.97 * deep, low - 32), (-0.55 * deep, low - 46),
            (-0.05 * deep, low - 42), (0.45 * deep, low - 14),
            (0.86 * deep, low + 14), (0.93 * deep, low - 40), (0.95 * deep, 130),
            (0.82 * deep, 60), (0.5 * deep, 12),
        ],
        dtype=float,
    )  # fmt: skip


def _smooth(points: Reals) -> Reals:
    """Cut the corners of a closed polygon three times (Chaikin)."""
    for _ in range(3):
        after = np.roll(points, -1, axis=0)
        pairs = [0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after]
        points = np.stack(pairs, axis=1).reshape(-1, 2)
    return points


def _vertebrae(canvas: Canvas, anatomy: Anatomy, deep: float, low: float) -> Singles:
    layer = np.zeros(canvas.shape, np.uint8)
    count = 13
    for index in range(count):
        y = -40 + index * anatomy.rib_spacing
        x = 0.66 * deep + 16 * np.sin(np.pi * np.clip((y + 40) / (low + 70), 0, 1))
        half = 0.42 * anatomy.rib_spacing
        body = np.array([(x - 14, y - half), (x + 14, y - half), (x + 14, y + half)])
        body = np.concatenate([body, [(x - 14, y + half)]])
        polygon_into(layer, canvas, body, 230)
        polygon_into(layer, canvas, body * 0.8 + body.mean(axis=0) * 0.2, 160)
    return np.float32(0.17 * anatomy.bone) * soft_unit(layer, 1.6 * canvas.scale)


def _ribs(canvas: Canvas, anatomy: Anatomy, deep: float) -> Singles:
    layer = np.zeros(canvas.shape, np.uint8)
    v = np.linspace(0, 1, 24)
    for index in range(anatomy.ribs):
        for offset in (0.0, 6.0):
            y = -6 + anatomy.rib_spacing * index + offset
            x = 0.92 * deep - 1.75 * deep * v
            curve = np.stack([x, y + (30 + 5 * index) * np.sin(v * 1.75) ** 1.2], axis=1)
            bands(layer, canvas, [curve], 7.5, 90)
    return np.float32(0.10 * anatomy.bone) * soft_unit(layer, 1.0 * canvas.scale)


def lateral(canvas: Canvas, anatomy: Anatomy, pose: Pose, rng: np.random.Generator) -> Singles:
    """Absorbance of a lateral phantom, float32 of the canvas's shape."""
    deep = 0.88 * anatomy.half_width
    low = anatomy.height * pose.inspiration
    trunk = _smooth(
        np.array(
            [
                (-30, -140), (-40, -50), (-deep - 14, 20), (-deep - 34, 120), (-deep - 30, 340),
                (deep + 40, 340), (deep + 44, 150), (deep + 46, 30), (50, -60), (34, -140),
            ],
            dtype=float,
        )
    )  # fmt: skip
    body = polygon(canvas, trunk, 4.0)
    ramp = np.interp(canvas.y[:, 0], [-140, 0, 150, 260, 330], [0.8, 0.92, 0.92, 1.1, 1.15])
    out = body * ramp.astype(np.float32)[:, None] * np.float32(0.86 + 0.14 * anatomy.body)
    lung = polygon(canvas, _smooth(_lung(deep, low)), 2.0)
    air = lung * (np.float32(0.55) + np.float32(0.45) * blur(lung, 12 * canvas.scale))
    heart = ellipse(canvas, (-0.42 * deep, low - 74), (0.46 * deep, 66), 0.6)
    air *= 1 - np.float32(0.72) * fade((np.sqrt(heart) - 1) * 14)
    hilum = ellipse(canvas, (0.05 * deep, 0.38 * low), (20, 26))
    texture = np.float32(0.016) * cloud(rng, canvas.shape, 6 * canvas.scale)
    out = out * (1 - np.float32(0.66) * air) + air * (texture + np.float32(0.16) * np.exp(-hilum))
    out += _vertebrae(canvas, anatomy, deep, low) + _ribs(canvas, anatomy, deep) * body
    layer = np.zeros(canvas.shape, np.uint8)
    sternum = np.array([(-46, 22), (-0.9 * deep - 6, 92), (-deep - 8, 170)], dtype=float)
    bands(layer, canvas, [sternum], 11.0)
    out += np.float32(0.10) * soft_unit(layer, 2.2 * canvas.scale)
    arms = ellipse(canvas, (10, -52), (56, 46))
    return np.asarray(np.maximum(out + np.float32(0.25) * np.exp(-arms * arms), 0), np.float32)
