"""Films to check an export on: the user's own, or phantoms where none are given."""

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
from pulmospark.imaging.image import Film, film_from_bytes, read_film
from pulmospark.inference.batch.inputs import list_inputs, resolve_inputs
from pulmospark.layouts.base import ListingNotes
from pulmospark.models.bundle.config import BundleConfig
from pulmospark.phantoms.draw import draw_film, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding

_SEED = 12


@dataclass(frozen=True)
class CheckFilms:
    """Standard images to check an export on.

    Attributes:
        pixels: (n, size, size).
        names: of each, for messages.
        phantoms: whether they were drawn.
        unreadable: films given that could not be read.
    """

    pixels: Pixels
    names: tuple[str, ...]
    phantoms: bool
    unreadable: int = 0


def films_for(config: BundleConfig, paths: Sequence[str]) -> CheckFilms:
    """Standard images of a bundle's size, from films or, without any, from phantoms.

    Args:
        config: of the bundle.
        paths: as ``pulmospark predict`` takes them, without images tables.

    Raises:
        UsageError: an images table is given.
        InputError: a path is not there, or no film could be read.
    """
    return _given(paths, config.ingest) if paths else _drawn(config.ingest)


def _given(paths: Sequence[str], settings: IngestSettings) -> CheckFilms:
    inputs = resolve_inputs(paths)
    if inputs.images:
        raise UsageError(f"--films {inputs.images[0]}: an images table: give the files themselves")
    with tempfile.TemporaryDirectory(prefix="pulmospark-") as folder:
        manifest = Path(folder) / "manifest.parquet"
        list_inputs(inputs, manifest, ListingNotes())
        listed = pq.read_table(manifest, columns=["uri"])["uri"]
    count = min(len(listed), limits.EXPORT_FILMS_MAX)
    chosen = np.linspace(0, len(listed) - 1, count).round().astype(int)
    uris = [listed[int(place)].as_py() for place in chosen]
    films = [read_film(uri, settings) for uri in uris]
    read = [(uri, film) for uri, film in zip(uris, films, strict=True) if isinstance(film, Film)]
    if not read:
        raise InputError(
            f"{uris[0]}: no film could be read, nor any of {len(uris)} that were tried"
        )
    pixels = [film.pixels for _, film in read]
    names = tuple(uri for uri, _ in read)
    return CheckFilms(np.stack(pixels), names, False, len(uris) - len(read))


def _drawn(settings: IngestSettings) -> CheckFilms:
    random = np.random.default_rng(_SEED)
    findings = list(Finding)
    pixels = []
    for number in range(limits.EXPORT_PHANTOMS):
        hospital = HOSPITALS[number % len(HOSPITALS)]
        finding = findings[number // len(HOSPITALS) % len(findings)]
        phantom = draw_film(random_person(random, hospital, finding), hospital, random)
        film = film_from_bytes(encode(phantom), settings)
        if not isinstance(film, Film):
            raise InputError(f"phantom {number}: {film.detail}")
        pixels.append(film.pixels)
    names = tuple(f"phantom {number}" for number in range(len(pixels)))
    return CheckFilms(np.stack(pixels), names, True)
