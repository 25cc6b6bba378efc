"""Films that a plan is measured on: a sample of the user's own, or phantoms."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from pulmospark.core import limits
from pulmospark.core.errors import InputError
from pulmospark.core.files import disk_errors, link_or_copy
from pulmospark.imaging.phantom_mark import NOTE
from pulmospark.layouts.base import ListingNotes
from pulmospark.layouts.walk import FoundFile, absolute, walk
from pulmospark.phantoms.draw import draw_film, random_person
from pulmospark.phantoms.looks import HOSPITALS
from pulmospark.phantoms.opacities import Finding

PHANTOM_SIDE = 1024
"""pixels: the side of the films of NIH ChestX-ray14"""

_PHANTOMS = 8
_SEED = 11
_QUALITY = 90


@dataclass(frozen=True)
class Sample:
    """Films to measure on."""

    origin: str
    """what they are, for people"""
    films: tuple[Path, ...]
    """a copy of each, in the measurement's own folder"""
    mean_bytes: float
    """of a film's file"""
    read_s: float
    """seconds that the first reading of one took, where it lies; 0 for phantoms"""

    @property
    def chunk_films(self) -> int:
        """How many of them a task gets."""
        return max(min(limits.CHUNK_FILES_MAX, int(limits.CHUNK_BYTES_MAX / self.mean_bytes)), 1)


def sample_films(folder: Path | None, work: Path) -> Sample:
    """Films from a folder, drawn by chance from the first that a listing finds; or phantoms.

    Memory holds one film, whatever the sample.

    Args:
        folder: of the films; ``None``: phantoms.
        work: of the measurement, where they are copied to.

    Raises:
        InputError: there is no image file in the folder, or none can be read.
        EnvironmentProblem: no space, or no right to write there.
    """
    copies = work / "sample"
    if folder is None:
        drawn = [_written(copies, n, ".jpg", _phantom(n)) for n in range(_PHANTOMS)]
        return _sample(f"phantoms of {PHANTOM_SIDE} x {PHANTOM_SIDE}, JPEG", drawn, 0.0)
    folder = absolute(folder)
    films: list[Path] = []
    seconds: list[float] = []
    room = limits.PLAN_SAMPLE_BYTES_MAX
    for file in _chosen(folder):
        if file.size_bytes > room:
            break
        begun = time.perf_counter()
        try:
            data = folder.joinpath(*file.parts).read_bytes()
        except OSError:
            continue
        seconds.append(time.perf_counter() - begun)
        films.append(_written(copies, len(films), Path(file.parts[-1]).suffix, data))
        room -= len(data)
    if not films:
        raise InputError(f"{folder}: none of its films can be read; check the rights")
    return _sample(f"films of {folder}", films, float(np.mean(seconds)))


def _chosen(folder: Path) -> list[FoundFile]:
    """Files of a folder in an order of chance, as many as a sample may have."""
    found = list(islice(walk(folder, ListingNotes()), limits.PLAN_LISTED_MAX))
    usable = [
        file
        for file in found
        if file.problem is None and file.size_bytes <= limits.PLAN_FILM_BYTES_MAX
    ]
    if not usable:
        raise InputError(f"{folder}: no image file was found; check --films-from")
    return random.Random(_SEED).sample(usable, min(len(usable), limits.PLAN_FILMS))


def _written(folder: Path, number: int, suffix: str, data: bytes) -> Path:
    path = folder / f"film-{number:06d}{suffix}"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return path


def _sample(origin: str, films: list[Path], read_s: float) -> Sample:
    mean_bytes = sum(path.stat().st_size for path in films) / len(films)
    return Sample(origin, tuple(films), mean_bytes, read_s)


def read_again_s(paths: Sequence[Path]) -> float:
    """Seconds that reading a film takes that the machine has in memory."""
    begun = time.perf_counter()
    for path in paths:
        path.read_bytes()
    return (time.perf_counter() - begun) / len(paths)


def folder_of(folder: Path, count: int) -> Path:
    """Where :func:`laid_out` lays so many films."""
    return folder / f"films-{count}"


def laid_out(sample: Sample, folder: Path, count: int) -> list[Path]:
    """The films of a sample, over and over, under ``count`` names: hard links, made once.

    Raises:
        EnvironmentProblem: no space, or no right to write there.
    """
    folder = folder_of(folder, count)
    if folder.is_dir():
        return sorted(folder.iterdir())
    with disk_errors(folder):
        folder.mkdir(parents=True)
        paths: list[Path] = []
        for number in range(count):
            film = sample.films[number % len(sample.films)]
            path = folder / f"film-{number:06d}{film.suffix}"
            link_or_copy(film, path)
            paths.append(path)
    return paths


def _phantom(number: int) -> bytes:
    rng = np.random.default_rng((_SEED, number))
    hospital = HOSPITALS[number % len(HOSPITALS)]
    person = random_person(rng, hospital, list(Finding)[number % len(Finding)])
    person = replace(person, size=(PHANTOM_SIDE, PHANTOM_SIDE), encoding="jpeg-grey")
    pixels = draw_film(person, hospital, rng).pixels
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY, comment=NOTE.encode())
    return file.getvalue()
