"""CC-CCII, raw or cleaned: ``{NCP,CP,Normal}/<patient>/<scan>/<slice>``, and its lists.

- ``unzip_filenames.csv`` (``zip_file,label,patient_id,scan_id,n_slice``) is the list of scans:
  scans that are missing, unlisted, listed twice, or have another number of slices are noted.
- ``lesions_slices.csv`` (``imgpath``) lists slices with lesions, of ``NCP`` and ``CP`` alone.
  Using only these and all slices of ``Normal``, as is often done, gives the classes away: only
  the normal scans then include shoulders and belly. The option ``slices`` does so, with a note in
  the listing.
- ``ct_train.json``, ``ct_test.json`` are Clean-CC-CCII's split (He et al. 2020).

No publication says whether patient 11 of ``NCP`` is patient 11 of ``CP``. By default they are one
patient, which separates nobody's scans; ``patient_numbers = "by_class"`` separates them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import ClassVar

from pulmospark.core.errors import UsageError
from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.datasets.cc_ccii_lists import CLASSES, Lists, Scan, read_lists
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.ct_series import Twins, by_folder, in_order
from pulmospark.layouts.walk import FoundFile, absolute, glance, is_image_name, walk

_PATIENTS_LOOKED_AT = 5


@dataclass
class _Listing:
    """State of a listing; grows with the number of scans."""

    lists: Lists
    notes: ListingNotes
    source: str
    lesions_only: bool
    leaves_errors_out: bool
    by_class: bool
    with_lesions: frozenset[str] = frozenset()
    """classes with a list of slices with lesions"""
    seen: dict[str, Scan] = field(default_factory=dict)
    """scan's number -> where it was first seen"""
    scans: set[Scan] = field(default_factory=set)
    twins: Twins = field(default_factory=Twins)
    owner: dict[str, str] = field(default_factory=dict)
    """scan as text -> patient"""
    chosen: Counter[str] = field(default_factory=Counter)
    """class -> included slices"""
    left_out: Counter[str] = field(default_factory=Counter)
    """class -> slices that are not in the list of lesions"""


class CcCcii(Layout):
    """The finding is the class's folder: ``NCP`` (COVID-19), ``CP`` or ``Normal``."""

    name = "cc_ccii"
    title = "CC-CCII (China Consortium of Chest CT Image Investigation), also Clean-CC-CCII"
    home = "http://ncov-ai.big.ac.cn/download"
    licence = "for research, according to its publishers; Zhang et al. 2020, Cell 181, 1423-1433"
    holds = "617,775 CT slices of 4,154 patients: COVID-19 (NCP), other pneumonia (CP), normal"
    looked_for = "folders NCP, CP and Normal with a folder per patient and a folder per scan"
    faults = (
        "duplicate scans; slices that repeat or are out of order (He et al. 2020)",
        "eight scans that the curators of COVIDx CT removed as erroneous",
        "lesions_slices.csv lists slices of NCP and CP only",
        "windowed to 8 bit; spacing and Hounsfield units are unknown",
    )
    options: ClassVar[Mapping[str, str]] = {
        "slices": "'all' (default), or 'lesions': of each class in lesions_slices.csv only the "
        "slices listed there; the classes then differ by that selection, which is noted",
        "error_list": "file with one wrong scan (NCP/328/1805) or patient (NCP/823) per line, in "
        "addition to the known ones; exclude_list.txt by default",
        "wrong_scans": "'keep' (default) or 'leave_out' (exclude) the scans listed as wrong",
        "patient_numbers": "'shared' (default): patient 11 of NCP and of CP are one; 'by_class': "
        "they are two",
    }

    def recognises(self, folder: Path) -> float:
        """0.95 if two of the classes contain folders of folders of images."""
        classes = [name for name in CLASSES if name in glance(folder).folders]
        return 0.95 if sum(_holds_scans(folder / name) for name in classes) >= 2 else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per slice, scan by scan, each in the order of its slices' numbers."""
        self.check_options(options)
        lists = read_lists(folder, _error_list(folder, options), notes)
        listing = _Listing(
            lists=lists,
            with_lesions=frozenset(scan.label for scan in lists.lesions),
            notes=notes,
            source=source_name,
            lesions_only=self.choice(options, "slices", ("all", "lesions")) == "lesions",
            leaves_errors_out=self.choice(options, "wrong_scans", ("keep", "leave_out"))
            == "leave_out",
            by_class=self.choice(options, "patient_numbers", ("shared", "by_class")) == "by_class",
        )
        if listing.lesions_only and not listing.lists.lesions:
            raise UsageError(
                f"options: slices is 'lesions', but {folder} has no lesions_slices.csv that lists "
                "a slice: put it there, or use all slices"
            )
        for place, files in by_folder(walk(folder, notes)):
            if len(place) == 3 and place[0] in CLASSES:
                yield from _scan(Scan(*place), files, listing)
            else:
                yield from _stray(place, files, listing)
        _close(listing)


def _scan(scan: Scan, files: list[FoundFile], listing: _Listing) -> Iterator[ManifestRow]:
    """Check a scan; rows of its slices."""
    notes, lists = listing.notes, listing.lists
    # Without undecodable names: they keep only their path.
    ordered = in_order([f for f in files if f.problem is None], str(scan), notes)
    _check(scan, [file for _, file in ordered], len(files), listing)
    if lists.is_error(scan):
        notes.add(NoteKind.SCANS_LISTED_AS_WRONG, str(scan))
        if listing.leaves_errors_out:
            notes.add(NoteKind.SLICES_LEFT_OUT, str(scan), len(files))
            return
    yield from (row_of(file, listing.source) for file in files if file.problem is not None)
    person, parts = lists.person(scan), lists.splits.get(scan, {})
    number = f"{scan.label}/{scan.patient}" if listing.by_class else scan.patient
    for at, file in ordered:
        if not _taken(scan, file, listing):
            continue
        split = parts.get(file.parts[-1])
        if lists.splits and split is None:
            notes.add(NoteKind.SLICES_IN_NO_SPLIT, file.uri)
        yield row_of(
            file,
            listing.source,
            patient_id=values.patient_id(listing.source, number),
            scan_id=str(scan),
            slice_index=at,
            finding=scan.label,
            view=View.AXIAL,
            modality=Modality.CT,
            age=person.age,
            sex=person.sex,
            published_split=split,
        )


def _check(scan: Scan, ordered: list[FoundFile], count: int, listing: _Listing) -> None:
    notes, name = listing.notes, str(scan)
    listing.scans.add(scan)
    if (first := listing.seen.setdefault(scan.number, scan)) != scan:
        notes.add(NoteKind.REPEATED_SCANS, f"{scan}, same number as {first}")
    if (twin := listing.twins.earlier(name, ordered)) is not None:
        same = listing.owner[twin] == scan.patient
        kind = NoteKind.TWIN_SCANS if same else NoteKind.TWINS_OF_TWO_PATIENTS
        notes.add(kind, f"{scan} = {twin}")
    listing.owner[name] = scan.patient
    if listing.lists.scans is None:
        notes.add(NoteKind.UNCHECKED_SCANS, name)
    elif scan not in listing.lists.scans.slices:
        notes.add(NoteKind.UNLISTED_SCANS, name)
    else:
        listed = listing.lists.scans.slices[scan]
        if listed is not None and listed != count:
            notes.add(NoteKind.SLICE_COUNTS_DIFFER, f"{scan}: {count} slices, {listed} listed")


def _taken(scan: Scan, file: FoundFile, listing: _Listing) -> bool:
    """Whether a slice becomes a row; counts the selection per class."""
    name = file.parts[-1]
    listed = name.rpartition(".")[0] in listing.lists.lesions.get(scan, ())
    if listed:
        listing.notes.add(NoteKind.LESION_SLICES, file.uri)
    if listing.lesions_only and scan.label in listing.with_lesions and not listed:
        listing.left_out[scan.label] += 1
        listing.notes.add(NoteKind.SLICES_LEFT_OUT, file.uri)
        return False
    listing.chosen[scan.label] += 1
    return True


def _stray(
    place: tuple[str, ...], files: list[FoundFile], listing: _Listing
) -> Iterator[ManifestRow]:
    """Rows of files outside the scans' folders."""
    label = place[0] if place and place[0] in CLASSES else None
    kind = NoteKind.FILES_OUTSIDE_SCAN if label else NoteKind.FILES_OUTSIDE_CLASS
    for file in files:
        listing.notes.add(kind, file.uri)
        patient = None
        if label and len(place) > 1:
            number = f"{label}/{place[1]}" if listing.by_class else place[1]
            patient = values.patient_id(listing.source, number)
        yield row_of(
            file,
            listing.source,
            patient_id=patient,
            finding=label,
            view=View.AXIAL if label else View.UNKNOWN,
            modality=Modality.CT if label else Modality.UNKNOWN,
        )


def _close(listing: _Listing) -> None:
    """Note missing scans and an uneven selection, which only show at the end."""
    notes = listing.notes
    for scan in listing.lists.scans.slices if listing.lists.scans else ():
        if scan not in listing.scans:
            notes.add(NoteKind.MISSING_SCANS, str(scan))
    uneven = [label for label in listing.chosen if not listing.left_out[label]]
    if listing.left_out and uneven:
        for label in sorted(listing.left_out):
            total = listing.chosen[label] + listing.left_out[label]
            notes.add(
                NoteKind.SLICES_CHOSEN_BY_CLASS,
                f"{label}: {listing.chosen[label]} of {total} slices, by the list of lesions; "
                f"{', '.join(sorted(uneven))}: all",
                listing.chosen[label],
            )


def _holds_scans(label: Path) -> bool:
    for patient in islice(glance(label).folders, _PATIENTS_LOOKED_AT):
        for scan in islice(glance(label / patient).folders, _PATIENTS_LOOKED_AT):
            if any(is_image_name(name) for name in glance(label / patient / scan).files):
                return True
    return False


def _error_list(folder: Path, options: Mapping[str, str]) -> Path | None:
    named = options.get("error_list")
    return None if named is None else absolute(folder / Path(named).expanduser())
