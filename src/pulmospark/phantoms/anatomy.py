"""The build of a synthetic patient, and the positioning of each image.

Lengths are millimetres on the image. The origin lies on the midline at the height of the
lungs' apices; x grows to the right of the image (the person's left), y grows downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pulmospark.core.arrays import Reals, Singles

Side = Literal[-1, 1]
"""-1: left of the image, the person's right; 1: the other"""
SIDES: tuple[Side, Side] = (-1, 1)


@dataclass(frozen=True)
class Anatomy:
    """The build of one patient; the same on each image. Lengths in mm."""

    sex: Literal["M", "F"]
    age: int
    """years"""
    half_width: float
    """midline to the inner chest wall at its widest"""
    height: float
    """apex to costophrenic angle"""
    body: float
    """thickness of soft tissue, 1 is usual"""
    heart: float
    """cardiothoracic ratio"""
    asymmetry: float
    """relative excess of right over left lung width"""
    right_dome: float
    """how much higher the right diaphragm stands"""
    ribs: int
    rib_spacing: float
    rib_slope: float
    """1 is usual"""
    bone: float
    """how dense bones are, 1 is usual"""
    knob: float
    """radius of the aortic knob"""
    vessels: float
    """how marked the vessels are, 1 is usual"""
    bubble: float
    """half width of the gas in the stomach"""
    breast: float
    """opacity of the breasts' shadow, 0 for men"""
    texture_seed: int
    """of the vessels' tree, which stays the same from image to image"""


@dataclass(frozen=True)
class Pose:
    """Positioning and exposure of one image."""

    inspiration: float
    """height of the lungs against full inspiration"""
    turn: float
    """rotation about the body's axis: shift of the mediastinum, mm"""
    tilt: float
    """rotation in the image's plane, degrees"""
    shift: tuple[float, float]
    """of the body on the image, mm"""
    zoom: float
    supine: bool
    """lying: wider heart, higher diaphragms, shoulder blades over the lungs"""
    wires: int
    """ECG leads that lie on the chest"""


def random_anatomy(rng: np.random.Generator) -> Anatomy:
    """Sample a patient."""
    female = bool(rng.random() < 0.5)
    size = rng.normal(0.95 if female else 1.03, 0.045)
    ribs = int(rng.integers(9, 11))
    height = float(np.clip(rng.normal(252, 11), 225, 280) * size)
    return Anatomy(
        sex="F" if female else "M",
        age=int(np.clip(rng.normal(56, 16), 19, 92)),
        half_width=float(np.clip(rng.normal(133, 6), 118, 148) * size),
        height=height,
        body=float(np.clip(rng.normal(1.0, 0.09), 0.8, 1.25)),
        heart=float(np.clip(rng.normal(0.45, 0.032), 0.38, 0.56)),
        asymmetry=float(rng.normal(0.03, 0.02)),
        right_dome=float(rng.normal(11, 4)),
        ribs=ribs,
        rib_spacing=height / (ribs + 0.6) * float(rng.normal(1.0, 0.02)),
        rib_slope=float(rng.normal(1.0, 0.13)),
        bone=float(np.clip(rng.normal(1.0, 0.16), 0.6, 1.4)),
        knob=float(rng.normal(16, 2)),
        vessels=float(np.clip(rng.normal(1.0, 0.17), 0.6, 1.5)),
        bubble=float(np.clip(rng.normal(20, 8), 4, 34)),
        breast=float(np.clip(rng.normal(0.09, 0.035), 0.02, 0.17)) if female else 0.0,
        texture_seed=int(rng.integers(2**31)),
    )


def random_pose(rng: np.random.Generator, *, supine: bool) -> Pose:
    """Sample the positioning of an image."""
    return Pose(
        inspiration=float(np.clip(rng.normal(0.90 if supine else 0.98, 0.03), 0.8, 1.04)),
        turn=float(rng.normal(0, 3.0 if supine else 1.8)),
        tilt=float(rng.normal(0, 1.8 if supine else 0.9)),
        shift=(float(rng.normal(0, 3.5)), float(rng.normal(0, 4.0))),
        zoom=float(np.clip(rng.normal(1.04 if supine else 1.0, 0.022), 0.93, 1.12)),
        supine=supine,
        wires=int(rng.integers(0, 4)) if supine else 0,
    )


class Canvas:
    """A float32 picture with millimetres on it.

    Args:
        height, width: pixels.
        scale: pixels a mm.
        centre: the point of the body, mm, that lies in the middle of the picture.
    """

    def __init__(
        self, height: int, width: int, scale: float, centre: tuple[float, float] = (0.0, 112.0)
    ) -> None:
        self.height, self.width, self.scale = height, width, scale
        self.left = centre[0] - width / scale / 2
        self.top = centre[1] - height / scale / 2
        self.x: Singles = (self.left + (np.arange(width, dtype=np.float32) + 0.5) / scale)[None, :]
        """mm of each column, shape (1, width)"""
        self.y: Singles = (self.top + (np.arange(height, dtype=np.float32) + 0.5) / scale)[:, None]
        """mm of each row, shape (height, 1)"""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height, self.width

    def coarse(self, factor: int) -> Canvas:
        """The same field of view with pixels ``factor`` times as large."""
        height, width = -(-self.height // factor), -(-self.width // factor)
        small = Canvas(height, width, self.scale / factor)
        small.x = self.left + (np.arange(width, dtype=np.float32)[None, :] + 0.5) * (
            factor / self.scale
        )
        small.y = self.top + (np.arange(height, dtype=np.float32)[:, None] + 0.5) * (
            factor / self.scale
        )
        small.left, small.top = self.left, self.top
        return small

    def pixels(self, points: Reals) -> Reals:
        """Points in mm, shape (..., 2) as x, y, to pixels."""
        return np.asarray((points - np.array([self.left, self.top])) * self.scale - 0.5)


@dataclass(frozen=True)
class Lung:
    """Outline of one lung on a frontal image, in mm; ``side`` as in :data:`Side`."""

    side: Side
    apex: float
    """x of the apex, distance from the midline"""
    half_width: float
    angle: float
    """y of the costophrenic angle"""
    dome: float
    """y of the diaphragm's top"""
    shift: float
    """of the midline, from the body's rotation"""

    def outer(self, y: Reals) -> Reals:
        """Distance from the midline to the chest wall at each ``y``, mm; of its shape."""
        t = np.clip(y / self.angle, 0, 1)
        rise = (1 - (1 - t) ** 3.3) ** 0.62
        tuck = 26.0 * np.clip(t - 0.72, 0, 1) ** 1.5
        return np.asarray(self.apex + (self.half_width - self.apex) * rise - tuck)

    def outline(self) -> Reals:
        """Closed polygon, shape (n, 2), mm."""
        y = self.angle * np.linspace(0, 1, 40) ** 1.6
        wall = self.outer(y)
        u = np.linspace(1, 0, 30)
        fall = (np.clip(u - 0.42, 0, 1) / 0.58) ** 2.3 + 0.28 * (
            np.clip(0.42 - u, 0, 1) / 0.42
        ) ** 2
        inner = 20.0
        floor_x = inner + (wall[-1] - inner) * u
        floor_y = self.dome + (self.angle - self.dome) * fall
        medial_y = np.linspace(floor_y[-1], 6, 12)
        medial_x = inner + (self.apex - 4 - inner) * np.exp(-medial_y / 25)
        x = np.concatenate([wall, floor_x, medial_x])
        y = np.concatenate([y, floor_y, medial_y])
        return np.stack([self.side * x + self.shift, y], axis=1)


def lungs(anatomy: Anatomy, pose: Pose) -> tuple[Lung, Lung]:
    """Both lungs as they lie on the image, the left of the image first."""
    both = []
    for side in SIDES:
        height = anatomy.height * pose.inspiration
        dome = height - (44 if pose.supine else 38) - (anatomy.right_dome if side < 0 else 0)
        width = anatomy.half_width * (1 - side * anatomy.asymmetry) * (1 - side * pose.turn / 150)
        both.append(Lung(side, 46.0, width, height, dome, pose.turn * 0.4))
    return both[0], both[1]
