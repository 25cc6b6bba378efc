"""One phantom, from a person and a hospital to the bytes of its file."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

import imagecodecs
import numpy as np
from PIL import Image

from pulmospark.imaging.phantom_mark import NOTE
from pulmospark.phantoms.anatomy import Anatomy, Canvas, random_anatomy, random_pose
from pulmospark.phantoms.frontal import frontal
from pulmospark.phantoms.hospitals import (
    Encoding,
    Hospital,
    StandardImage,
    burn_letters,
    collimate,
    develop,
    quantise,
)
from pulmospark.phantoms.lateral import lateral
from pulmospark.phantoms.opacities import Finding, Opacity

ViewName = Literal["PA", "AP", "AP Supine", "L"]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEAD = len(PNG_SIGNATURE) + 25
"""bytes of the signature and the header, the first chunk"""


@dataclass(frozen=True)
class Person:
    """A synthetic patient, the source of all of his or her images."""

    anatomy: Anatomy
    finding: Finding
    severity: float
    """0 to 1, at the first image"""
    trend: float
    """change of severity from image to image"""
    opacity_seed: int
    view: ViewName
    size: tuple[int, int]
    """height and width of the images, pixels"""
    encoding: Encoding


@dataclass(frozen=True)
class Phantom:
    """A drawn image, ready to be written."""

    pixels: StandardImage
    encoding: Encoding
    view: ViewName

    @property
    def suffix(self) -> str:
        """Ending of the file's name."""
        return ".png" if self.encoding.startswith("png") else ".jpg"


def random_person(rng: np.random.Generator, hospital: Hospital, finding: Finding) -> Person:
    """Sample a patient of a hospital with ``finding``."""
    view: ViewName = "PA"
    if rng.random() < hospital.supine:
        view = "AP Supine" if rng.random() < 0.7 else "AP"
    return Person(
        anatomy=random_anatomy(rng),
        finding=finding,
        severity=0.15 + 0.85 * float(rng.beta(2.6, 1.3)),
        trend=float(rng.normal(0, 0.12)),
        opacity_seed=int(rng.integers(2**31)),
        view=view,
        size=hospital.sizes[int(rng.integers(len(hospital.sizes)))],
        encoding=hospital.encodings[int(rng.integers(len(hospital.encodings)))],
    )


def draw_image(
    person: Person,
    hospital: Hospital,
    rng: np.random.Generator,
    *,
    number: int = 0,
    side_view: bool = False,
) -> Phantom:
    """Draw one image of a person.

    Args:
        person: who.
        hospital: where, and so with which look.
        rng: of this image: pose, exposure and noise.
        number: which image of this person, from 0; severity moves by the person's trend.
        side_view: a lateral image instead of a frontal one.
    """
    view: ViewName = "L" if side_view else person.view
    pose = random_pose(rng, supine=person.view != "PA" and not side_view)
    height, width = person.size
    scale = max(height, width) / hospital.field * pose.zoom
    centre = (pose.shift[0], 108.0 + pose.shift[1])
    canvas = Canvas(height, width, scale, centre)
    if side_view:
        absorbance = lateral(canvas, person.anatomy, pose, rng)
    else:
        severity = person.severity + number * person.trend + rng.normal(0, 0.04)
        opacity = Opacity(person.finding, float(np.clip(severity, 0, 1)), person.opacity_seed)
        absorbance = frontal(canvas, person.anatomy, pose, opacity, rng).absorbance
    grey = develop(absorbance, hospital, tilt=pose.tilt, rng=rng)
    grey = collimate(grey, hospital, rng)
    grey = burn_letters(grey, hospital, view=view, rng=rng)
    return Phantom(quantise(grey, person.encoding), person.encoding, view)


def encode(phantom: Phantom) -> bytes:
    """A phantom as PNG or JPEG, with ``phantom_mark.NOTE`` in the file's own comment."""
    if phantom.suffix == ".png":
        # Huffman codes alone: noise has no repeats, so this is smaller and faster than level 1.
        # Pillow tries all filters on each row, in three times as long for the same size.
        png = imagecodecs.png_encode(
            phantom.pixels,
            level=1,
            strategy=imagecodecs.PNG.STRATEGY.HUFFMAN_ONLY,
            filter=imagecodecs.PNG.FILTER.PAETH,
        )
        comment = png_chunk(b"tEXt", b"Comment\0" + NOTE.encode())
        return b"".join((png[:_PNG_HEAD], comment, png[_PNG_HEAD:]))
    file = io.BytesIO()
    Image.fromarray(phantom.pixels).save(file, "JPEG", quality=88, comment=NOTE.encode())
    return file.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file: length, name, data and checksum (PNG 5.3)."""
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check
