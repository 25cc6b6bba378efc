"""The images that benchmarks read: 1024 x 1024 JPEG of a given size, each file another."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from pulmospark.chunks import write_part
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import hashing, limits, schemas
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.phantoms.draw import draw_image, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding

SIDE = 1024
"""pixels, the size of NIH ChestX-ray14's images"""
IMAGE_BYTES = 120_000
"""of an image; NIH's at JPEG quality 85 or so"""

DIFFERENT = 40
"""images, from which the files are made"""
_SEED = 20201
_QUALITIES = range(30, 99)
_START_OF_IMAGE = b"\xff\xd8"


@dataclass(frozen=True)
class Pictures:
    """A few different images, from which as many files are made as a benchmark asks for."""

    what: str
    """where they come from, for the report"""
    jpegs: tuple[bytes, ...]

    def described(self) -> str:
        """Where they come from, and how large they are."""
        middle = float(np.median([len(jpeg) for jpeg in self.jpegs])) / 1000
        return f"{len(self.jpegs)} {self.what}, {SIDE} x {SIDE} grey JPEG, median {middle:.0f} kB"

    def file(self, number: int) -> bytes:
        """The bytes of a file; another ``image_id`` for each number, the same work to decode."""
        return with_comment(self.jpegs[number % len(self.jpegs)], f"benchmark file {number}")


def pictures(
    data: Path | None, *, size_bytes: int = IMAGE_BYTES, count: int = DIFFERENT
) -> Pictures:
    """NIH ChestX-ray14's images where they are to be had, else phantoms; encoded anew.

    Args:
        data: folder of the public data sets.
        size_bytes: about how large each file is to be.
        count: how many different ones.
    """
    nih = sorted((data / "nih-chest-xray14" / "images").glob("*.png"))[:count] if data else []
    if nih:
        drawn = [np.asarray(Image.open(path).convert("L")) for path in nih]
        what = "images of NIH ChestX-ray14, encoded anew"
    else:
        drawn = [_phantom(number) for number in range(count)]
        what = "phantoms (drawn by a program)"
    return Pictures(what, tuple(encoded(pixels, size_bytes) for pixels in drawn))


def _phantom(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rng = np.random.default_rng((_SEED, number))
    hospital = HOSPITALS[number % len(HOSPITALS)]
    person = random_person(rng, hospital, list(Finding)[number % len(Finding)])
    person = replace(person, size=(SIDE, SIDE), encoding="jpeg-grey")
    return np.asarray(draw_image(person, hospital, rng).pixels, dtype=np.uint8)


def encoded(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], size_bytes: int) -> bytes:
    """A grey JPEG at the highest quality that stays within ``size_bytes``."""
    image = Image.fromarray(pixels)
    low, high = _QUALITIES.start, _QUALITIES.stop - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if len(_jpeg(image, middle)) <= size_bytes else (low, middle - 1)
        )
    return _jpeg(image, low)


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def with_comment(jpeg: bytes, text: str) -> bytes:
    """A JPEG with a comment segment (marker FF FE, ITU-T T.81 B.2.4.5) after its start."""
    if not jpeg.startswith(_START_OF_IMAGE):
        raise ValueError("not a JPEG")
    comment = text.encode()
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return _START_OF_IMAGE + segment + jpeg[2:]


def write_images(folder: Path, count: int, made_of: Pictures) -> list[Path]:
    """Files in a class-per-folder tree, which pulmospark recognises; no two alike."""
    paths = []
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        path = folder / ("one", "two")[number % 2] / f"image-{number:06d}.jpg"
        path.write_bytes(made_of.file(number))
        paths.append(path)
    return paths


def write_images_table(folder: Path, count: int, made_of: Pictures) -> None:
    """An images table as ingest leaves it: parts of ``limits.CHUNK_FILES_MAX`` rows.

    No two rows are alike: each has its own ``image_id`` and its own first pixel row.
    """
    settings = IngestSettings()
    images = [image_from_bytes(jpeg, settings) for jpeg in made_of.jpegs]
    good = [image for image in images if isinstance(image, StandardImage)]
    folder.mkdir(parents=True)
    for start in range(0, count, limits.CHUNK_FILES_MAX):
        numbers = range(start, min(start + limits.CHUNK_FILES_MAX, count))
        rows = [_row(number, good) for number in numbers]
        part = pa.Table.from_pylist(rows, schema=schemas.IMAGES)
        write_part(part, folder / f"images-{start:08d}.parquet")


def _row(number: int, images: Sequence[StandardImage]) -> dict[str, object]:
    image = images[number % len(images)]
    mark = number.to_bytes(8, "big")
    return {
        **dict.fromkeys(schemas.IMAGES.names),
        "image_id": hashing.bytes_id(image.image_id.encode() + mark),
        "uri": f"/benchmark/image-{number:06d}.jpg",
        "source": "benchmark",
        "view": "unknown",
        "modality": "X-ray",
        "view_measured": False,
        "format": image.format,
        "size_bytes": image.size_bytes,
        "modified_ns": 0,
        "height": image.height,
        "width": image.width,
        "pixels": mark + image.pixels.tobytes()[len(mark) :],
        "phash": image.phash,
    }
