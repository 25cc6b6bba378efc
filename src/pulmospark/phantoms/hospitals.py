"""The look of each synthetic hospital's images, and its patients.

Class prevalence differs from hospital to hospital ON PURPOSE, as it does between public
data sets: "the most frequent class of each source" is a rule that looks at no image and
yet scores well above "the most frequent class". A model whose accuracy is near it has
learned the hospital's look and text instead of the disease.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from pulmospark.core.arrays import Pixels, Singles
from pulmospark.phantoms.brushes import blur, unit
from pulmospark.phantoms.opacities import Finding

Encoding = Literal["png-grey", "png-16", "png-rgb", "jpeg-grey", "jpeg-rgb"]
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CURVE_STEPS = 8192  # finer than the 12 bits an image keeps
_FONT_HEIGHT = 22  # pixels of its capitals at scale 1
StandardImage = Pixels | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Hospital:
    """A hospital's look and its patients."""

    name: str
    """of its folder"""
    title: str
    """burned into its images"""
    patients: float
    """share of all patients"""
    prevalence: dict[Finding, float]
    supine: float
    """share of patients imageed lying"""
    sizes: tuple[tuple[int, int], ...]
    """height and width, pixels"""
    field: float
    """mm that the image's longer side shows"""
    encodings: tuple[Encoding, ...]
    window: tuple[float, float]
    """absorbances shown black and white"""
    gamma: float
    steepness: float
    """0: straight curve, 1: strongly S-shaped"""
    scatter: float
    """share of stray light"""
    sharpness: float
    """below 0: blur, pixels; above: share of edge enhancement"""
    noise: float
    """standard deviation at usual dose, of full scale"""
    collimation: Literal["none", "black", "white"]
    text_height: float
    """height of the burned-in text as a share of the image's height"""


HOSPITALS: tuple[Hospital, ...] = (
    Hospital(
        name="alder",
        title="ALDER",
        patients=0.35,
        prevalence={Finding.NORMAL: 0.60, Finding.COVID: 0.18, Finding.PNEUMONIA: 0.22},
        supine=0.0,
        sizes=((464, 464), (432, 432)),
        field=370,
        encodings=("png-grey", "png-grey", "png-16"),
        window=(0.10, 1.42),
        gamma=1.05,
        steepness=0.45,
        scatter=0.05,
        sharpness=0.7,
        noise=0.010,
        collimation="none",
        text_height=0.030,
    ),
    Hospital(
        name="birch",
        title="BIRCH EMERGENCY",
        patients=0.33,
        prevalence={Finding.NORMAL: 0.20, Finding.COVID: 0.58, Finding.PNEUMONIA: 0.22},
        supine=0.75,
        sizes=((384, 464), (368, 448)),
        field=400,
        encodings=("jpeg-rgb", "jpeg-grey"),
        window=(-0.15, 1.62),
        gamma=1.0,
        steepness=0.1,
        scatter=0.22,
        sharpness=-0.8,
        noise=0.022,
        collimation="black",
        text_height=0.042,
    ),
    Hospital(
        name="cedar",
        title="Cedar Valley",
        patients=0.32,
        prevalence={Finding.NORMAL: 0.24, Finding.COVID: 0.20, Finding.PNEUMONIA: 0.56},
        supine=0.1,
        sizes=((480, 396),),
        field=400,
        encodings=("png-grey", "jpeg-grey", "png-rgb"),
        window=(0.02, 1.22),
        gamma=0.82,
        steepness=0.3,
        scatter=0.10,
        sharpness=-0.5,
        noise=0.014,
        collimation="white",
        text_height=0.034,
    ),
)


def develop(
    absorbance: Singles, hospital: Hospital, *, tilt: float, rng: np.random.Generator
) -> Singles:
    """Turn absorbance into an image's grey, 0 to 1, with the hospital's look.

    Args:
        absorbance: as drawn, (h, w).
        hospital: whose look.
        tilt: rotation in the image's plane, degrees.
        rng: of this image: exposure and noise.
    """
    height, width = absorbance.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), tilt, 1.0)
    picture = cv2.warpAffine(
        absorbance, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    stray = np.float32(hospital.scatter)
    picture = (1 - stray) * picture + stray * blur(picture, 0.09 * width)
    low, high = hospital.window
    exposure = rng.normal(0, 0.03)
    span = (high - low) * rng.normal(1, 0.03)
    straight = np.linspace(0, 1, _CURVE_STEPS) ** (hospital.gamma * rng.normal(1, 0.04))
    bent = straight * straight * (3 - 2 * straight)
    curve = straight + hospital.steepness * (bent - straight)
    step = (picture - np.float32(low + exposure)) * np.float32((_CURVE_STEPS - 1) / span)
    step = np.clip(step, 0, _CURVE_STEPS - 1)
    grey = np.take(curve.astype(np.float32), step.astype(np.uint16))
    if hospital.sharpness > 0:
        grey = grey + np.float32(hospital.sharpness) * (grey - blur(grey, 2.2))
    else:
        grey = blur(grey, -hospital.sharpness)
    noise = rng.standard_normal((height, width), dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (3, 3), 0.6) * np.float32(1.7)
    dose = np.float32(hospital.noise * np.exp(rng.normal(0, 0.25)))
    return np.asarray(grey + dose * noise * (np.float32(0.5) + grey), np.float32)


def collimate(grey: Singles, hospital: Hospital, rng: np.random.Generator) -> Singles:
    """Cover the margins of an (h, w) image as the hospital's diaphragm or image holder does."""
    if hospital.collimation == "none":
        return grey
    height, width = grey.shape
    margins = np.abs(rng.normal(0.012, 0.014, 4)) * width
    top, bottom, left, right = (int(margin) for margin in margins)
    if hospital.collimation == "white":
        top, bottom, left, right = (max(3, margin // 2) for margin in (top, bottom, left, right))
    shade = np.float32(0.02 if hospital.collimation == "black" else 0.97)
    grey[:top] = shade
    grey[height - bottom :] = shade
    grey[:, :left] = shade
    grey[:, width - right :] = shade
    return grey


def burn_letters(
    grey: Singles, hospital: Hospital, *, view: str, rng: np.random.Generator
) -> Singles:
    """Write side marker, view, hospital and the word PHANTOM onto the (h, w) image."""
    height, width = grey.shape
    size = hospital.text_height * height
    edge = 12 + int(rng.integers(0, 9))
    marker = "R" if view != "L" and rng.random() < 0.7 else "L"
    x = edge if marker == "R" else width - edge - int(1.6 * size)
    texts = [(marker, (x, int(edge + 1.7 * size)), 1.6 * size, 2)]
    if view.startswith("AP"):
        texts.append((view.upper(), (edge, height - edge), size, 1))
    small = 0.82 * size
    for row, text in enumerate((hospital.title, "PHANTOM")):
        wide = cv2.getTextSize(text, _FONT, small / _FONT_HEIGHT, 1)[0][0]
        place = (width - edge - wide, height - edge - int(row * 1.5 * small))
        texts.append((text, place, small, 1))
    ink = np.zeros(grey.shape, np.uint8)
    for text, place, tall, thick in texts:
        cv2.putText(ink, text, place, _FONT, tall / _FONT_HEIGHT, 255, thick, cv2.LINE_AA)
    rim = cv2.dilate(ink, np.ones((3, 3), np.uint8))  # keeps text legible on white
    grey = grey * (1 - np.float32(0.8) * unit(rim))
    return grey + unit(ink) * (np.float32(0.96) - grey)


def quantise(grey: Singles, encoding: Encoding) -> StandardImage:
    """Grey, 0 to 1, to the file's integers: (h, w) uint8 or uint16, or (h, w, 3) uint8."""
    if encoding == "png-16":
        # 12 bits of a detector, stretched to 16 as hospitals' exports do
        return (np.clip(grey, 0, 1) * np.float32(4095) + np.float32(0.5)).astype(np.uint16) * 16
    eight = (np.clip(grey, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    if encoding.endswith("rgb"):
        return np.repeat(eight[:, :, None], 3, axis=2)
    return eight
