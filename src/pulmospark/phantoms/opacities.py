"""Opacities of the lung, one type per finding.

Described after the radiology of adults: COVID-19 as hazy (ground-glass) patches in both
lungs, at their periphery and base; bacterial pneumonia as a dense consolidation of one
lobe or part of it, often bounded by a fissure, with bronchi that still hold air, and now
and then an effusion that blunts the costophrenic angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pulmospark.core.arrays import Singles
from pulmospark.phantoms.anatomy import Canvas, Lung
from pulmospark.phantoms.brushes import bands, cloud, ellipse, fade, soft_unit


class Finding(StrEnum):
    """Finding of a phantom, in the terms of ieee8023/covid-chestxray-dataset."""

    NORMAL = "No Finding"
    COVID = "COVID-19"
    PNEUMONIA = "Pneumonia"


@dataclass(frozen=True)
class Opacity:
    """One person's opacities, to be drawn on each of his or her images.

    Args:
        finding: which kind.
        severity: 0 (hardly to be seen) to 1.
        seed: of where they lie, the same on all images of a person.
    """

    finding: Finding
    severity: float
    seed: int

    def __call__(
        self, canvas: Canvas, both: tuple[Lung, Lung], rng: np.random.Generator
    ) -> tuple[Singles, float]:
        """Share of air that is replaced (0 to about 1.1) at a coarser resolution, and grain."""
        small = canvas.coarse(4 if self.finding is Finding.COVID else 2)
        placed = np.random.default_rng(self.seed)
        if self.finding is Finding.COVID:
            return _ground_glass(small, both, self.severity, placed, rng), 0.10
        if self.finding is Finding.PNEUMONIA:
            return _consolidation(small, both, self.severity, placed, rng), 0.07
        return _streaks(small, both, self.severity, placed), 0.05


def _over(base: Singles, more: Singles) -> Singles:
    return 1 - (1 - base) * (1 - more)


def _ground_glass(
    canvas: Canvas,
    both: tuple[Lung, Lung],
    severity: float,
    placed: np.random.Generator,
    rng: np.random.Generator,
) -> Singles:
    out = np.zeros(canvas.shape, np.float32)
    lean = float(np.clip(placed.normal(1.0, 0.22), 0.6, 1.4))  # one lung may have more
    for lung in both:
        share = lean if lung.side < 0 else 2 - lean
        for _ in range(int(placed.integers(4, 8))):
            low = float(placed.beta(3.2, 1.5))
            y = (0.24 + 0.68 * low) * lung.angle
            wall = float(lung.outer(np.array([y]))[0])
            depth = float(np.clip(abs(placed.normal(0, 0.24)), 0.02, 0.6))
            x = lung.side * (wall - 10 - depth * (wall - 45)) + lung.shift
            radii = placed.uniform(13, 31), placed.uniform(18, 40)
            angle = float(placed.normal(0, 0.3)) + 0.25 * lung.side
            dense = (0.16 + 0.46 * severity) * share * placed.uniform(0.6, 1.15)
            x, y = x + rng.normal(0, 2.5), y + rng.normal(0, 3.0)
            patch = np.exp(-0.5 * ellipse(canvas, (x, y), radii, angle) ** 1.3)
            out = _over(out, np.float32(np.clip(dense, 0, 0.7)) * patch)
    ragged = cloud(placed, canvas.shape, 13 * canvas.scale) + np.float32(0.6) * cloud(
        placed, canvas.shape, 6 * canvas.scale
    )
    ragged = np.clip(np.float32(0.9) + np.float32(0.22) * ragged, 0.25, 1.3)
    return np.asarray(out * ragged, np.float32)


def _consolidation(
    canvas: Canvas,
    both: tuple[Lung, Lung],
    severity: float,
    placed: np.random.Generator,
    rng: np.random.Generator,
) -> Singles:
    out = np.zeros(canvas.shape, np.float32)
    first = both[int(placed.random() < 0.45)]
    spots = [first]
    if placed.random() < 0.28:  # a second one, mostly on the same side
        spots.append(first if placed.random() < 0.6 else both[first.side < 0])
    for number, lung in enumerate(spots):
        lobe = float(placed.choice([0.30, 0.55, 0.72], p=[0.26, 0.30, 0.44]))
        y = (lobe + placed.normal(0, 0.035)) * lung.angle
        wall = float(lung.outer(np.array([y]))[0])
        x = lung.side * (34 + (wall - 34) * placed.uniform(0.32, 0.72)) + lung.shift
        size = (0.72 + 0.5 * severity) * (1 if number == 0 else 0.7)
        radii = placed.uniform(42, 60) * size, placed.uniform(36, 52) * size
        angle = float(placed.normal(0, 0.4))
        x, y = x + rng.normal(0, 2.0), y + rng.normal(0, 2.5)
        edge: Singles = np.sqrt(ellipse(canvas, (x, y), radii, angle))
        edge += np.float32(0.16) * cloud(placed, canvas.shape, 15 * canvas.scale)
        patch = fade((edge - 1) * 6.5)
        patch = patch * _fissure(canvas, lung, (x, y), placed, upper=lobe < 0.4, radius=radii[1])
        dense = (0.50 + 0.62 * severity) * (1 if number == 0 else 0.75)
        mottled = 1 + np.float32(0.10) * cloud(placed, canvas.shape, 9 * canvas.scale)
        patch = np.float32(dense) * patch * mottled
        out = _over(
            out, patch * (1 - np.float32(0.5) * _bronchogram(canvas, lung, (x, y), placed))
        )
    if placed.random() < 0.30:
        out = np.maximum(out, _effusion(canvas, first, float(placed.uniform(10, 34))))
    return np.maximum(out, 0)


def _fissure(
    canvas: Canvas,
    lung: Lung,
    spot: tuple[float, float],
    placed: np.random.Generator,
    *,
    upper: bool,
    radius: float,
) -> Singles:
    """A sharp edge: below an upper-lobe consolidation, above one of the lobes beneath."""
    slope = lung.side * placed.normal(0.12, 0.12)
    x, y = spot
    border = y + (0.45 if upper else -0.5) * radius + slope * (canvas.x - np.float32(x))
    side = np.float32(1 if upper else -1)
    return fade(side * (canvas.y - border) / np.float32(2.2))


def _bronchogram(
    canvas: Canvas, lung: Lung, spot: tuple[float, float], placed: np.random.Generator
) -> Singles:
    """Bronchi that hold air within the consolidation, 0 to 1."""
    layer = np.zeros(canvas.shape, np.uint8)
    v = np.linspace(0, 1, 12)[:, None]
    hilum = np.array([lung.side * 36.0 + lung.shift, 0.36 * lung.angle])
    for _ in range(4):
        end = np.array(spot) + placed.normal(0, 17, 2)
        bow = placed.normal(0, 6, 2)
        bands(layer, canvas, [hilum + (end - hilum) * v + bow * np.sin(np.pi * v)], 2.6)
    return soft_unit(layer, 0.9 * canvas.scale)


def _effusion(canvas: Canvas, lung: Lung, height: float) -> Singles:
    """Fluid that blunts the costophrenic angle: a meniscus that climbs the wall."""
    wall = float(lung.outer(np.array([lung.angle]))[0])
    out = np.clip((canvas.x - np.float32(lung.shift)) * np.float32(lung.side) / wall, 0, 1)
    level = np.float32(lung.angle - 0.55 * height) - np.float32(1.1 * height) * out**5
    return np.float32(0.9) * fade((level - canvas.y) / np.float32(3.0))


def _streaks(
    canvas: Canvas, both: tuple[Lung, Lung], severity: float, placed: np.random.Generator
) -> Singles:
    """What images without a finding may show: a faint streak or haze at a base."""
    out = np.zeros(canvas.shape, np.float32)
    if placed.random() > 0.25:
        return out
    lung = both[int(placed.random() < 0.5)]
    y = lung.dome - placed.uniform(4, 26)
    x = lung.side * placed.uniform(50, 100)
    if placed.random() < 0.6:
        tip = np.array([(x - 24, y + placed.normal(0, 7)), (x, y), (x + 24, y + 3)])
        layer = np.zeros(canvas.shape, np.uint8)
        bands(layer, canvas, [tip], 2.0)
        return np.float32(0.25 + 0.3 * severity) * soft_unit(layer, 1.8 * canvas.scale)
    patch = np.exp(-0.5 * ellipse(canvas, (x, y), (26, 18)))
    return np.asarray(np.float32(0.08 + 0.16 * severity) * patch, np.float32)
