"""The sheets and lists of CC-CCII: of scans, of slices with lesions, of errors."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pulmospark.core import limits
from pulmospark.core.errors import InputError, LayoutError
from pulmospark.layouts.notes import ListingNotes, NoteKind
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.sheet import Sheet, key_of, open_sheet
from pulmospark.layouts.parsing.text_lists import lists_of

CLASSES = ("NCP", "CP", "Normal")
SCAN_LIST, LESION_LIST, PATIENTS = "unzip_filenames.csv", "lesions_slices.csv", "metadata.csv"
ERROR_LIST = "exclude_list.txt"
_SPLITS = re.compile(r"ct_(?:seg_)?(train|val|valid|test)\.json", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s,;/_]+")


class Scan(NamedTuple):
    """A scan by its folders; an empty number means all scans of the patient."""

    label: str
    patient: str
    number: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


KNOWN_ERRORS = frozenset(
    Scan(*text.split("/"))
    for text in (
        "NCP/328/1805", "CP/1781/3567", "CP/1769/3516", "NCP/1058/2635",
        "NCP/868/2395", "NCP/868/2396", "NCP/869/2397", "NCP/911/2453",
    )
)  # fmt: skip
"""Scans that the curators of COVIDx CT removed as erroneous from its second edition on (Gunraj et
al. 2021; ``dataset_construction/cncb.py`` of haydengunraj/COVIDNet-CT)."""


@dataclass(frozen=True)
class ScanList:
    """Content of ``unzip_filenames.csv``."""

    slices: dict[Scan, int | None]
    """scan -> number of slices; ``None`` if the sheet has none"""


@dataclass(frozen=True)
class Person:
    """A patient in ``metadata.csv``."""

    age: float | None
    sex: str | None


@dataclass
class Lists:
    """All lists next to the images."""

    scans: ScanList | None = None
    """``None``: there is no list of scans"""
    lesions: dict[Scan, set[str]] = field(default_factory=dict)
    """scan -> stems of its slices with lesions"""
    people: dict[str, Person] = field(default_factory=dict)
    """patient's number, or ``patient/scan`` -> age and sex"""
    splits: dict[Scan, dict[str, str]] = field(default_factory=dict)
    """scan -> file name -> published split (Clean-CC-CCII)"""
    errors: frozenset[Scan] = KNOWN_ERRORS

    def person(self, scan: Scan) -> Person:
        """Age and sex at a scan; empty if unknown."""
        nobody = Person(None, None)
        at_scan = self.people.get(f"{scan.patient}/{scan.number}")
        return at_scan or self.people.get(scan.patient, nobody)

    def is_error(self, scan: Scan) -> bool:
        """Whether a list of errors names the scan, or all scans of its patient."""
        return scan in self.errors or Scan(scan.label, scan.patient) in self.errors


def read_lists(folder: Path, error_list: Path | None, notes: ListingNotes) -> Lists:
    """Read the lists in ``folder``; each may be missing.

    Args:
        folder: of the data set.
        error_list: file with a scan or patient per line, ``NCP/328/1805``, ``NCP_328_1805`` or
            ``NCP 328``; ``None``: ``exclude_list.txt`` in the folder, if there is one.
        notes: collects rows that cannot be used.

    Raises:
        InputError: a list cannot be read.
        LayoutError: a sheet lacks a column.
    """
    lists = Lists()
    if (path := folder / SCAN_LIST).is_file():
        lists.scans = _scan_list(open_sheet(path), notes)
    if (path := folder / LESION_LIST).is_file():
        _lesions(open_sheet(path), lists.lesions, notes)
    if (path := folder / PATIENTS).is_file():
        _people(open_sheet(path), lists.people, notes)
    for path, split in lists_of(folder, _SPLITS):
        _split(path, split or "", lists.splits)
    path = error_list or folder / ERROR_LIST
    if error_list is not None or path.is_file():
        lists.errors = KNOWN_ERRORS | frozenset(_errors(path))
    return lists


def _scan_list(sheet: Sheet, notes: ListingNotes) -> ScanList:
    label, patient, number = (sheet.need(n) for n in ("label", "patient_id", "scan_id"))
    count = sheet.column("n_slice", "n_slices")
    slices: dict[Scan, int | None] = {}
    places: Counter[str] = Counter()
    for line, cell in sheet.rows():
        scan = Scan(cell(label).strip(), cell(patient).strip(), cell(number).strip())
        if not all(scan):
            notes.add(NoteKind.ROWS_WITHOUT_PATH, f"{sheet.path.name}, line {line}")
            continue
        if scan in slices:
            notes.add(NoteKind.REPEATED_SCANS, f"{sheet.path.name}, line {line}: {scan}")
            continue
        places[scan.number] += 1
        if places[scan.number] == 2:
            notes.add(
                NoteKind.REPEATED_SCANS,
                f"{sheet.path.name}, line {line}: {scan}, same number as another patient",
            )
        slice_count = cell(count).strip() if count else ""
        is_number = slice_count.isascii() and slice_count.isdigit()
        slices[scan] = int(slice_count) if is_number else None
    return ScanList(slices)


def _lesions(sheet: Sheet, lesions: dict[Scan, set[str]], notes: ListingNotes) -> None:
    path = sheet.need("imgpath")
    for line, cell in sheet.rows():
        parts = (key_of(cell(path)) or "").split("/")
        if len(parts) < 4:
            notes.add(NoteKind.ROWS_WITHOUT_PATH, f"{sheet.path.name}, line {line}")
            continue
        # Editions differ in the extension: the list has .jpg while the files are .png.
        lesions.setdefault(Scan(*parts[-4:-1]), set()).add(_stem(parts[-1]))


def _people(sheet: Sheet, people: dict[str, Person], notes: ListingNotes) -> None:
    patient = sheet.need("patient_id", "patient")
    scan, age = sheet.column("scan_id"), sheet.column("age")
    sex = next((c for c in sheet.columns if c.casefold().startswith(("sex", "gender"))), None)
    # The published sheet has "Sex(Male=1; Female=2)".
    codes = {"1": "M", "2": "F"} if sex and "1" in sex and "2" in sex else {}
    for _, cell in sheet.rows():
        key = cell(patient).strip()
        if scan and cell(scan).strip():
            key += f"/{cell(scan).strip()}"
        sex_text = cell(sex).strip() if sex else ""
        person = Person(
            age=values.age_years(cell(age), notes) if age else None,
            sex=values.sex(codes.get(sex_text.partition(".")[0], sex_text)),
        )
        if people.setdefault(key, person) != person:
            notes.add(NoteKind.REPEATED_ROWS, f"{sheet.path.name}: {key}")


def _split(path: Path, part: str, splits: dict[Scan, dict[str, str]]) -> None:
    """Class -> patient -> scan -> file names, as Clean-CC-CCII's JSON has them."""
    if (size := path.stat().st_size) > limits.METADATA_FILE_BYTES_MAX:
        raise InputError(f"{path}: {size} bytes, over {limits.METADATA_FILE_BYTES_MAX}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for label, patients in content.items():
            for patient, scans in patients.items():
                for number, names in scans.items():
                    inside = splits.setdefault(Scan(label, patient, number), {})
                    inside.update(dict.fromkeys(map(str, names), part))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}") from error
    except (AttributeError, TypeError) as error:
        raise LayoutError(
            f"{path}: not a list of class, patient, scan and file names: use Clean-CC-CCII's own "
            "file, or remove it"
        ) from error


def _errors(path: Path) -> Iterator[Scan]:
    """Scans and patients in a list; blank lines and those with ``#`` are skipped."""
    try:
        if (size := path.stat().st_size) > limits.CONFIG_FILE_BYTES_MAX:
            raise InputError(f"{path}: {size} bytes, over {limits.CONFIG_FILE_BYTES_MAX}")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        parts = _SEPARATORS.split(text)
        if parts[0] not in CLASSES or not 2 <= len(parts) <= 3:
            raise InputError(
                f"{path}, line {number}: {text[:60]!r} is not a scan: write class, patient and, "
                "for a single scan, its number, as NCP/328/1805"
            )
        yield Scan(*parts)


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
