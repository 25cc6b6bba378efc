"""Phantoms on disk, in the layout of ieee8023/covid-chestxray-dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import ConfigDict

from pulmospark.core import limits
from pulmospark.core.csv_files import write_row
from pulmospark.core.errors import UsageError
from pulmospark.core.files import whole_folder
from pulmospark.core.progress import Progress
from pulmospark.core.records import Record
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.phantom_mark import NOTE
from pulmospark.phantoms.broken_files import BROKEN
from pulmospark.phantoms.draw import Person, Phantom, draw_image, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS, Hospital
from pulmospark.phantoms.opacities import Finding
from pulmospark.phantoms.patients import IMAGE_SHARES, patients_of, quotas

COLUMNS: tuple[str, ...] = (
    "patientid", "offset", "sex", "age", "finding", "survival", "intubated",
    "intubation_present", "went_icu", "in_icu", "needed_supplemental_O2", "extubated",
    "temperature", "pO2_saturation", "leukocyte_count", "neutrophil_count",
    "lymphocyte_count", "view", "modality", "date", "location", "folder", "filename", "doi",
    "url", "license", "clinical_notes", "other_notes", "",
)  # fmt: skip
"""The data set's columns in its order; the last has no name there either."""


class HospitalSummary(Record):
    """Files written for one hospital; paths are relative to its folder."""

    model_config = ConfigDict(frozen=True)

    name: str
    patients: int
    frontal: dict[Finding, int]
    """images that can be read, by finding"""
    lateral: int
    broken: dict[str, RejectReason]
    """files that are no images, and what each should be rejected for"""


class PhantomSummary(Record):
    """Files written, one folder per hospital."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    seed: int
    hospitals: tuple[HospitalSummary, ...]

    @property
    def patients(self) -> int:
        """Patients of all hospitals."""
        return sum(hospital.patients for hospital in self.hospitals)

    @property
    def frontal(self) -> int:
        """Frontal images that can be read."""
        return sum(sum(hospital.frontal.values()) for hospital in self.hospitals)

    @property
    def lateral(self) -> int:
        """Lateral images."""
        return sum(hospital.lateral for hospital in self.hospitals)

    @property
    def broken(self) -> int:
        """Broken files."""
        return sum(len(hospital.broken) for hospital in self.hospitals)


@dataclass
class _Ward:
    """One hospital's folder while it is written."""

    hospital: Hospital
    folder: Path
    rows: list[dict[str, str]]
    numbers: list[int]
    """numbers for file names, in random order, so that names are uninformative"""

    def add(
        self, person: Person, data: bytes, *, patient: int, view: str, suffix: str, offset: int
    ) -> str:
        """Write one file and its row; gives the file's path within the folder."""
        name = f"{self.hospital.name}-{self.numbers.pop():06d}{suffix}"
        (self.folder / "images" / name).write_bytes(data)
        row = dict.fromkeys(COLUMNS, "")
        row |= {
            "patientid": str(patient),
            "offset": str(offset),
            "sex": person.anatomy.sex,
            "age": str(person.anatomy.age),
            "finding": person.finding.value,
            "view": view,
            "modality": "X-ray",
            "date": "2020",
            "location": f"{self.hospital.title} (PHANTOM hospital)",
            "folder": "images",
            "filename": name,
            "license": "Apache-2.0",
            "other_notes": NOTE,
        }
        self.rows.append(row)
        return f"images/{name}"


def write_phantoms(
    folder: Path,
    *,
    seed: int,
    patients: int = 200,
    images_per_patient: Sequence[float] = IMAGE_SHARES,
    laterals: int = 8,
    broken: bool = True,
    progress: Progress | None = None,
) -> PhantomSummary:
    """Draw phantoms and write them, one folder per hospital.

    ``<folder>/<hospital>/metadata.csv`` and ``<folder>/<hospital>/images/`` have the layout
    of https://github.com/ieee8023/covid-chestxray-dataset. The same arguments write the
    same bytes with the same versions of NumPy, OpenCV and Pillow.

    Args:
        folder: created, or replaced atomically.
        seed: 0 to 2**31 - 1.
        patients: of all hospitals together.
        images_per_patient: shares of the patients with 1, 2, 3 ... frontal images.
        laterals: lateral images, spread over the hospitals.
        broken: also write the four files of :data:`pulmospark.phantoms.broken_files.BROKEN`.
        progress: called with the number of images drawn.

    Raises:
        UsageError: too few or too many patients, laterals or images, or a bad seed.
        EnvironmentProblem: no space, or no right to write there.
    """
    _check(seed, patients, images_per_patient, laterals)
    heads = quotas(patients, [hospital.patients for hospital in HOSPITALS])
    sides = quotas(laterals, [1.0] * len(HOSPITALS))
    done = 0
    summaries = []
    with whole_folder(folder) as aside:
        for index, hospital in enumerate(HOSPITALS):
            key = (seed, index)
            random = np.random.default_rng(key)
            plan = patients_of(hospital, heads[index], images_per_patient, random)
            ward = _open_ward(hospital, aside / hospital.name, plan, sides[index], key)
            frontal = dict.fromkeys(Finding, 0)
            for number, (finding, images) in enumerate(plan):
                side_view = _share(number, sides[index], len(plan))
                _admit(ward, number, finding, images=images, side_view=side_view, key=key)
                frontal[finding] += images
                done += images + side_view
                if progress is not None:
                    progress.to(done)
            planted = _plant(ward, index, seed) if broken else {}
            _write_sheet(ward)
            summaries.append(
                HospitalSummary(
                    name=hospital.name,
                    patients=len(plan),
                    frontal=frontal,
                    lateral=sides[index],
                    broken=planted,
                )
            )
    return PhantomSummary(folder=folder, seed=seed, hospitals=tuple(summaries))


def _check(seed: int, patients: int, images: Sequence[float], laterals: int) -> None:
    low, high = limits.PHANTOM_PATIENTS_MIN, limits.PHANTOM_PATIENTS_MAX
    if not low <= patients <= high:
        raise UsageError(f"patients: {patients}, must be {low} to {high}: give another number")
    if not 0 <= seed < 2**31:
        raise UsageError(f"seed: {seed}, must be 0 to {2**31 - 1}: give another number")
    most = limits.PHANTOM_IMAGES_EACH_MAX
    if not 0 < len(images) <= most or min(images) < 0 or sum(images) <= 0:
        raise UsageError(
            f"images_per_patient: {list(images)}, must be 1 to {most} shares, none below 0 "
            "and not all 0"
        )
    if not 0 <= laterals <= patients // 2:
        raise UsageError(f"laterals: {laterals}, must be 0 to {patients // 2} (half of patients)")


def _share(number: int, wanted: int, total: int) -> bool:
    """True for ``wanted`` of ``total`` numbers, evenly spread."""
    return (number + 1) * wanted // total > number * wanted // total


def _open_ward(
    hospital: Hospital,
    folder: Path,
    plan: Sequence[tuple[Finding, int]],
    laterals: int,
    key: tuple[int, int],
) -> _Ward:
    (folder / "images").mkdir(parents=True)
    total = sum(images for _, images in plan) + laterals + len(BROKEN)
    numbers = np.random.default_rng((*key, 0, 0, 1)).permutation(total) + 1
    return _Ward(hospital, folder, [], [int(number) for number in numbers])


def _admit(
    ward: _Ward,
    number: int,
    finding: Finding,
    *,
    images: int,
    side_view: bool,
    key: tuple[int, int],
) -> None:
    """Draw and write one patient's images."""
    rng = np.random.default_rng((*key, number))
    person = random_person(rng, ward.hospital, finding)
    day = 0
    for image in range(images + side_view):
        lateral = image == images
        phantom: Phantom = draw_image(
            person,
            ward.hospital,
            np.random.default_rng((*key, number, image)),
            number=image,
            side_view=lateral,
        )
        ward.add(
            person,
            encode(phantom),
            patient=number + 1,
            view=phantom.view,
            suffix=phantom.suffix,
            offset=day,
        )
        day += int(rng.integers(1, 5))


def _plant(ward: _Ward, index: int, seed: int) -> dict[str, RejectReason]:
    """Write this hospital's share of the broken files, each with its own patient."""
    planted = {}
    for number, (reason, suffix, spoil) in enumerate(BROKEN):
        if number % len(HOSPITALS) != index:
            continue
        rng = np.random.default_rng((seed, index, 2**31, number))
        finding = list(Finding)[int(rng.integers(len(Finding)))]
        person = replace(random_person(rng, ward.hospital, finding), encoding="jpeg-grey")
        data = spoil(encode(draw_image(person, ward.hospital, rng)))
        path = ward.add(
            person, data, patient=900_001 + number, view=person.view, suffix=suffix, offset=0
        )
        planted[path] = reason
    return planted


def _write_sheet(ward: _Ward) -> None:
    with (ward.folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        write_row(file, COLUMNS)
        for row in ward.rows:
            write_row(file, (row[name] for name in COLUMNS))
