"""Phantoms on disk, in the layout of ieee8023/covid-chestxray-dataset."""

from __future__ import annotations

import contextlib
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
from pulmospark.phantoms.parallel import drawn_in_order
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

    def add(self, person: Person, image: _Image, *, patient: int) -> str:
        """Write one file and its row; gives the file's path within the folder."""
        name = f"{self.hospital.name}-{self.numbers.pop():06d}{image.suffix}"
        (self.folder / "images" / name).write_bytes(image.data)
        row = dict.fromkeys(COLUMNS, "")
        row |= {
            "patientid": str(patient),
            "offset": str(image.offset),
            "sex": person.anatomy.sex,
            "age": str(person.anatomy.age),
            "finding": person.finding.value,
            "view": image.view,
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
    processes: int = 1,
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
        processes: that draw; more than one need a main module that may be imported again.
        progress: called with the number of images drawn.

    Raises:
        UsageError: too few or too many patients, laterals or images, or a bad seed.
        PlatformError: no space, no right to write there, or a process was killed.
    """
    _check(seed, patients, images_per_patient, laterals)
    heads = quotas(patients, [hospital.patients for hospital in HOSPITALS])
    sides = quotas(laterals, [1.0] * len(HOSPITALS))
    plans = [
        _plan(hospital, (seed, index), heads[index], sides[index], images_per_patient)
        for index, hospital in enumerate(HOSPITALS)
    ]
    drawings = drawn_in_order(
        _draw_patient, [patient for plan in plans for patient in plan], processes=processes
    )
    done = 0
    summaries = []
    with whole_folder(folder) as aside, contextlib.closing(drawings):
        for index, (hospital, plan) in enumerate(zip(HOSPITALS, plans, strict=True)):
            ward = _open_ward(hospital, aside / hospital.name, plan, (seed, index))
            for patient, (person, images) in zip(plan, drawings, strict=False):
                for image in images:
                    ward.add(person, image, patient=patient.number + 1)
                done += len(images)
                if progress is not None:
                    progress.to(done)
            summaries.append(_summary(ward, plan, _plant(ward, index, seed) if broken else {}))
            _write_sheet(ward)
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


def _plan(
    hospital: Hospital,
    key: tuple[int, int],
    patients: int,
    laterals: int,
    images_per_patient: Sequence[float],
) -> list[_Patient]:
    findings = patients_of(hospital, patients, images_per_patient, np.random.default_rng(key))
    return [
        _Patient(
            hospital,
            number,
            finding,
            images,
            side_view=_share(number, laterals, len(findings)),
            key=key,
        )
        for number, (finding, images) in enumerate(findings)
    ]


def _open_ward(
    hospital: Hospital, folder: Path, plan: Sequence[_Patient], key: tuple[int, int]
) -> _Ward:
    (folder / "images").mkdir(parents=True)
    total = sum(patient.images + patient.side_view for patient in plan) + len(BROKEN)
    numbers = np.random.default_rng((*key, 0, 0, 1)).permutation(total) + 1
    return _Ward(hospital, folder, [], [int(number) for number in numbers])


def _summary(
    ward: _Ward, plan: Sequence[_Patient], planted: dict[str, RejectReason]
) -> HospitalSummary:
    frontal = dict.fromkeys(Finding, 0)
    for patient in plan:
        frontal[patient.finding] += patient.images
    return HospitalSummary(
        name=ward.hospital.name,
        patients=len(plan),
        frontal=frontal,
        lateral=sum(patient.side_view for patient in plan),
        broken=planted,
    )


@dataclass(frozen=True)
class _Patient:
    """A patient to draw."""

    hospital: Hospital
    number: int
    finding: Finding
    images: int
    """frontal ones"""
    side_view: bool
    """one lateral image, too"""
    key: tuple[int, int]
    """of the hospital's random numbers"""


@dataclass(frozen=True)
class _Image:
    data: bytes
    view: str
    suffix: str
    offset: int
    """days since the patient's first image"""


def _draw_patient(patient: _Patient) -> tuple[Person, list[_Image]]:
    rng = np.random.default_rng((*patient.key, patient.number))
    person = random_person(rng, patient.hospital, patient.finding)
    drawn = []
    day = 0
    for image in range(patient.images + patient.side_view):
        phantom: Phantom = draw_image(
            person,
            patient.hospital,
            np.random.default_rng((*patient.key, patient.number, image)),
            number=image,
            side_view=image == patient.images,
        )
        drawn.append(_Image(encode(phantom), phantom.view, phantom.suffix, day))
        day += int(rng.integers(1, 5))
    return person, drawn


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
        image = _Image(data, person.view, suffix, offset=0)
        path = ward.add(person, image, patient=900_001 + number)
        planted[path] = reason
    return planted


def _write_sheet(ward: _Ward) -> None:
    with (ward.folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        write_row(file, COLUMNS)
        for row in ward.rows:
            write_row(file, (row[name] for name in COLUMNS))
