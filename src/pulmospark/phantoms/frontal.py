"""A frontal chest phantom: how much of the beam each point of it absorbs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pulmospark.core.arrays import Singles
from pulmospark.phantoms import bones
from pulmospark.phantoms.anatomy import SIDES, Anatomy, Canvas, Lung, Pose, lungs
from pulmospark.phantoms.brushes import (
    bands,
    blur,
    cloud,
    ellipse,
    enlarge,
    fade,
    polygon,
    polygon_into,
    soft_unit,
)
from pulmospark.phantoms.opacities import Opacity


@dataclass(frozen=True)
class Chest:
    """A drawn chest; pictures are float32 of the canvas's shape."""

    absorbance: Singles
    """about 0 (air) to 1.6"""
    lungs: Singles
    """mask of both lung fields, 0 to 1"""


def _body(canvas: Canvas, anatomy: Anatomy, pose: Pose) -> Singles:
    """Soft tissue: torso with neck, rounded off towards the skin, and the upper arms."""
    rows = canvas.y[:, 0]
    wide = anatomy.half_width / 133
    fat = 11 * (anatomy.body - 1) / 0.09
    heights = [-140, -66, -44, -22, 4, 36, 90, 160, 240, 340]
    halves = [50, 54, 72, 132, 178, 188, 178, 170, 166, 170]
    half = np.interp(rows, heights, np.array(halves) * wide + fat).astype(np.float32)[:, None]
    across = np.clip(1 - (canvas.x / half) ** 2, 0, 1)
    ramp = np.interp(rows, [-140, -40, 0, 120, 230, 330], [0.62, 0.60, 0.70, 0.82, 0.98, 1.03])
    torso = across**0.42 * ramp.astype(np.float32)[:, None]
    layer = np.zeros(canvas.shape, np.uint8)
    lift = 14 if pose.supine else 0
    for side in SIDES:
        arm = np.array([(150, 2), (186, -4), (222, 60), (236, 330), (186 - lift, 330), (172, 90)])
        arm = arm * [side * wide, 1] + [side * fat * 0.7, 0]
        polygon_into(layer, canvas, arm, 255)
    arms = soft_unit(layer, 5.0 * canvas.scale)
    return np.asarray(np.maximum(torso, 0.56 * arms) * (0.86 + 0.14 * anatomy.body), np.float32)


def _heart(canvas: Canvas, anatomy: Anatomy, pose: Pose, both: tuple[Lung, Lung]) -> Singles:
    """Mediastinum with heart and great vessels, 0 to 1."""
    width = 2 * anatomy.half_width * anatomy.heart * (1.10 if pose.supine else 1.0)
    base = both[1].dome + 12
    squat = 0.92 if pose.supine else 1.0
    left, right = 0.70 * width, 0.30 * width
    top = base - 128 * squat
    turn = pose.turn
    outline = np.array(
        [
            (-22, -60), (-20, 20), (-24, top - 6), (-27, top + 12),
            (-right * 0.92, base - 76), (-right, base - 48), (-right * 0.86, base - 16),
            (-18, base + 26), (left * 0.5, base + 34), (left * 0.93, base + 6),
            (left, base - 14), (left * 0.93, base - 34), (left * 0.70, base - 66),
            (34, base - 92), (30, top + 12), (24, top - 4), (22, 20), (24, -60),
        ],
        dtype=float,
    )  # fmt: skip
    outline[:, 0] += turn + 2
    shadow = polygon(canvas, outline, 3.4)
    knob = ellipse(canvas, (18 + turn, top - 2), (anatomy.knob, anatomy.knob * 1.1))
    return np.maximum(shadow, fade((np.sqrt(knob) - 1) * 11))


def _airway(canvas: Canvas, pose: Pose, carina: float) -> Singles:
    """Trachea and main bronchi, 0 to 1."""
    layer = np.zeros(canvas.shape, np.uint8)
    x = pose.turn * 0.8
    trunk = np.array([(x, -90.0), (x + 1, 20.0), (x + 2, carina)])
    right = np.array([(x + 2, carina - 3), (x - 16, carina + 22), (x - 34, carina + 38)])
    left = np.array([(x + 2, carina - 3), (x + 24, carina + 20), (x + 44, carina + 30)])
    bands(layer, canvas, [trunk], 16.0)
    bands(layer, canvas, [right, left], 9.0, 150)
    return soft_unit(layer, 1.6 * canvas.scale)


def _vessels(canvas: Canvas, anatomy: Anatomy, both: tuple[Lung, Lung], carina: float) -> Singles:
    """Vessels that fan out of the hila and halve twice, 0 to about 1."""
    rng = np.random.default_rng(anatomy.texture_seed)
    layer = np.zeros(canvas.shape, np.uint8)
    rough = canvas.coarse(4)
    hila = np.zeros(rough.shape, np.float32)
    steps = 7
    for lung in both:
        hilum = np.array([lung.side * 36.0 + lung.shift, carina + (34 if lung.side < 0 else 27)])
        count = 17
        start = hilum + rng.normal(0, [4, 13], (count, 2))
        heading = np.linspace(-1.25, 1.5, count) + rng.normal(0, 0.1, count)
        length = 30 + 12 * np.abs(heading) + rng.normal(0, 6, count)
        for width, value in ((2.6, 150), (1.6, 120), (0.9, 100)):
            bend = rng.normal(0, 0.035, (len(start), 1)) + rng.normal(0, 0.1, (len(start), steps))
            angle = heading[:, None] + np.cumsum(bend, axis=1)
            move = np.stack([lung.side * np.cos(angle), np.sin(angle)], axis=2)
            path = start[:, None] + np.cumsum(move * (length / steps)[:, None, None], axis=1)
            path = np.concatenate([start[:, None], path], axis=1)
            bands(layer, canvas, list(path), width, value)
            fork = rng.integers(4, steps + 1, len(path))
            start = np.concatenate([path[np.arange(len(path)), fork], path[:, -1]])
            ahead = np.concatenate([angle[np.arange(len(path)), fork - 1], angle[:, -1]])
            heading = ahead + rng.normal(0, 0.42, len(ahead))
            length = np.tile(length, 2) * 0.8
        knot = ellipse(rough, (float(hilum[0]), float(hilum[1])), (14, 27), lung.side * 0.25)
        hila += np.exp(-knot)
    tree = soft_unit(layer, 0.6 * canvas.scale)
    return np.float32(0.85) * tree + enlarge(np.float32(0.95) * hila, canvas.shape)


def _breasts(canvas: Canvas, anatomy: Anatomy, pose: Pose) -> Singles:
    """Shadows of the breasts over the lower fields."""
    rough = canvas.coarse(4)
    layer = np.zeros(rough.shape, np.float32)
    low = anatomy.height * (0.72 if pose.supine else 0.78)
    for side in SIDES:
        distance = ellipse(rough, (side * anatomy.half_width * 0.66, low), (58, 52))
        layer += np.float32(anatomy.breast) * fade((np.sqrt(distance) - 1) * 8)
    return enlarge(layer, canvas.shape)


def _wires(canvas: Canvas, rng: np.random.Generator, count: int) -> Singles:
    """ECG leads with their electrodes."""
    layer = np.zeros(canvas.shape, np.uint8)
    v = np.linspace(0, 1, 20)
    for _ in range(count):
        pad = rng.uniform([-110, 20], [110, 210])
        leave = np.array([rng.choice([-1, 1]) * rng.uniform(60, 190), rng.uniform(230, 330)])
        bow = rng.normal(0, 40, 2)
        path = pad + (leave - pad) * v[:, None] + bow * np.sin(np.pi * v)[:, None]
        bands(layer, canvas, [path], 1.4, 160)
        bands(layer, canvas, [np.stack([pad, pad + np.array([0.1, 0])])], 8.0, 220)
    return np.float32(0.3) * soft_unit(layer, 0.4 * canvas.scale)


def frontal(
    canvas: Canvas, anatomy: Anatomy, pose: Pose, opacity: Opacity, rng: np.random.Generator
) -> Chest:
    """Draw a frontal phantom.

    Args:
        canvas: the picture to draw on.
        anatomy: who.
        pose: how it was taken.
        opacity: what fills the lungs with something else than air.
        rng: of this image; the vessels' tree comes from the anatomy's own seed.
    """
    both = lungs(anatomy, pose)
    field = np.zeros(canvas.shape, np.uint8)
    for each in both:
        polygon_into(field, canvas, each.outline(), 255)
    lung = soft_unit(field, 1.3 * canvas.scale)
    rough = canvas.coarse(2)
    heart = enlarge(_heart(rough, anatomy, pose, both), canvas.shape)
    air = _air(canvas, lung, heart, opacity(canvas, both, rng), rng)
    carina = 0.27 * anatomy.height * pose.inspiration

    out = enlarge(_body(rough, anatomy, pose), canvas.shape)
    out *= 1 - np.float32(0.70) * air
    marks = _vessels(canvas, anatomy, both, carina)
    marks *= np.float32(0.19 * anatomy.vessels * (1 + 1.5 * (1 - pose.inspiration)))
    marks += np.float32(0.011) * cloud(rng, canvas.shape, 7 * canvas.scale)
    marks += np.float32(0.008) * cloud(rng, canvas.shape, 2.6 * canvas.scale)
    marks *= air
    out += marks
    out += np.float32(0.17) * heart * (1 - np.float32(0.3) * lung)
    out -= _gas(rough, canvas, anatomy, pose, both[1]) * (1 - lung)
    out -= _airway(canvas, pose, carina) * (np.float32(0.17) - np.float32(0.085) * air)
    # bones under the diaphragm and behind the heart are drowned in stray light
    seen = np.float32(0.55) + np.float32(0.45) * lung - np.float32(0.25) * heart * lung
    out += bones.ribs(canvas, anatomy, both) * seen
    out += bones.shoulders(canvas, anatomy, pose)
    out += bones.spine(canvas, anatomy, pose)
    if anatomy.breast:
        out += _breasts(canvas, anatomy, pose)
    if pose.wires:
        out += _wires(canvas, rng, pose.wires)
    return Chest(np.maximum(out, 0, out=out), lung)


def _air(
    canvas: Canvas,
    lung: Singles,
    heart: Singles,
    opacity: tuple[Singles, float],
    rng: np.random.Generator,
) -> Singles:
    """How much air the beam meets, -0.2 to 1: most in the lungs' middle, none in an opacity."""
    air = lung * (np.float32(0.62) + np.float32(0.38) * blur(lung, 13 * canvas.scale))
    air *= 1 - np.float32(0.93) * heart
    filled, grain = opacity
    if filled.any():
        filled = enlarge(filled, canvas.shape)
        filled *= 1 + np.float32(grain) * cloud(rng, canvas.shape, 5 * canvas.scale)
        # over 1: fluid and cells weigh more than the tissue around
        air *= 1 - np.clip(filled, 0, 1.2)
    return air


def _gas(rough: Canvas, canvas: Canvas, anatomy: Anatomy, pose: Pose, lung: Lung) -> Singles:
    """What the gas in the stomach takes away, under the left diaphragm."""
    radii = (anatomy.bubble, 6 + 0.4 * anatomy.bubble)
    bubble = ellipse(rough, (62 + pose.turn, lung.dome + 20 + radii[1]), radii, 0.1)
    return enlarge(np.float32(0.14) * np.exp(-bubble * bubble), canvas.shape)
