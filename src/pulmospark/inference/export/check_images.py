"""Images to check an export on: the user's, or phantoms if none are given."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.errors import InputError, UsageError
from pulmospark.imaging.image import StandardImage, image_from_bytes, read_image
from pulmospark.inference.batch.inputs import resolve_inputs
from pulmospark.inference.batch.list_inputs import list_inputs
from pulmospark.layouts.base import ListingNotes
from pulmospark.models.bundle.config import BundleConfig
from pulmospark.phantoms.draw import draw_image, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding

_SEED = 12


@dataclass(frozen=True)
class CheckImages:
    """Standard images to check an export on.

    Attributes:
        pixels: (n, size, size).
        names: of each, for messages.
        phantoms: whether they are phantoms.
        unreadable: number of given images that could not be read.
    """

    pixels: Pixels
    names: tuple[str, ...]
    phantoms: bool
    unreadable: int = 0


def images_for(config: BundleConfig, paths: Sequence[str]) -> CheckImages:
    """Standard images for a bundle, from the given images or else from phantoms.

    Args:
        config: of the bundle.
        paths: as ``pulmospark predict`` takes them, without images tables.

    Raises:
        UsageError: an images table is given.
        InputError: a path does not exist, or no image could be read.
    """
    return _given(paths, config.ingest) if paths else _drawn(config.ingest)


def _given(paths: Sequence[str], settings: IngestSettings) -> CheckImages:
    inputs = resolve_inputs(paths)
    if inputs.images:
        raise UsageError(
            f"--images {inputs.images[0]}: an images table: give the files themselves"
        )
    with tempfile.TemporaryDirectory(prefix="pulmospark-") as folder:
        manifest = Path(folder) / "manifest.parquet"
        list_inputs(inputs, manifest, ListingNotes())
        listed = pq.read_table(manifest, columns=["uri"])["uri"]
    count = min(len(listed), limits.EXPORT_IMAGES_MAX)
    chosen = np.linspace(0, len(listed) - 1, count).round().astype(int)
    uris = [listed[int(place)].as_py() for place in chosen]
    images = [read_image(uri, settings) for uri in uris]
    read = [
        (uri, image)
        for uri, image in zip(uris, images, strict=True)
        if isinstance(image, StandardImage)
    ]
    if not read:
        raise InputError(f"{uris[0]}: no image could be read ({len(uris)} tried); check the files")
    pixels = [image.pixels for _, image in read]
    names = tuple(uri for uri, _ in read)
    return CheckImages(np.stack(pixels), names, False, len(uris) - len(read))


def _drawn(settings: IngestSettings) -> CheckImages:
    random = np.random.default_rng(_SEED)
    findings = list(Finding)
    pixels = []
    for number in range(limits.EXPORT_PHANTOMS):
        hospital = HOSPITALS[number % len(HOSPITALS)]
        finding = findings[number // len(HOSPITALS) % len(findings)]
        phantom = draw_image(random_person(random, hospital, finding), hospital, random)
        image = image_from_bytes(encode(phantom), settings)
        if not isinstance(image, StandardImage):
            raise InputError(f"phantom {number}: {image.detail}")
        pixels.append(image.pixels)
    names = tuple(f"phantom {number}" for number in range(len(pixels)))
    return CheckImages(np.stack(pixels), names, True)
