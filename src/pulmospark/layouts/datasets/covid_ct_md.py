"""COVID-CT-MD: ``{COVID-19,Cap,Normal} Cases/<patient>/IM*.dcm``, one series per patient.

The publisher's README and sample (ShahinSHH/COVID-CT-MD) name the folders ``COVID-19 subjects``,
``CAP subjects`` and ``Normal subjects``; the download from figshare has ``... Cases``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.base import Layout, ListingNotes, ManifestRow, NoteKind, row_of
from pulmospark.layouts.parsing import values
from pulmospark.layouts.parsing.ct_series import by_folder, in_order
from pulmospark.layouts.walk import glance, is_image_name, walk

_FINDINGS = {
    f"{group} {word}": finding
    for group, finding in (("covid-19", "COVID-19"), ("cap", "CAP"), ("normal", "Normal"))
    for word in ("cases", "subjects")
}
_PATIENTS_LOOKED_AT = 5


class CovidCtMd(Layout):
    """Findings ``COVID-19``, ``CAP`` (community acquired pneumonia) and ``Normal``."""

    name = "covid_ct_md"
    title = "COVID-CT-MD"
    home = "https://github.com/ShahinSHH/COVID-CT-MD"
    licence = "CC BY 4.0 (the data on figshare); Afshar et al. 2021, Scientific Data 8, 121"
    holds = "CT series as DICOM: 169 patients with COVID-19, 60 with CAP, 76 normal"
    looked_for = (
        "folders 'COVID-19 Cases', 'Cap Cases', 'Normal Cases' (or '... subjects') with a "
        "folder per patient"
    )
    faults = (
        "one centre; the three groups are from different times",
        "slices with infection are listed for 79 patients only, in .npy files that are not read",
        "the order of the files is not always that of the slice positions",
    )

    def recognises(self, folder: Path) -> float:
        """0.95 if two of the groups contain folders with images."""
        groups = [name for name in glance(folder).folders if name.casefold() in _FINDINGS]
        return 0.95 if sum(_holds_series(folder / name) for name in groups) >= 2 else 0.0

    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """One row per slice, series by series."""
        self.check_options(options)
        for place, files in by_folder(walk(folder, notes)):
            finding = _FINDINGS.get(place[0].casefold()) if place else None
            if finding is None or len(place) != 2:
                kind = NoteKind.FILES_OUTSIDE_SCAN if finding else NoteKind.FILES_OUTSIDE_CLASS
                for file in files:
                    notes.add(kind, file.uri)
                    yield row_of(file, source_name, finding=finding)
                continue
            for file in files:
                if file.problem is not None:
                    yield row_of(file, source_name)
            sound = [file for file in files if file.problem is None]
            for at, file in in_order(sound, "/".join(place), notes):
                yield row_of(
                    file,
                    source_name,
                    patient_id=values.patient_id(source_name, place[1]),
                    scan_id="/".join(place),
                    slice_index=at,
                    finding=finding,
                    view=View.AXIAL,
                    modality=Modality.CT,
                )


def _holds_series(group: Path) -> bool:
    return any(
        any(is_image_name(name) for name in glance(group / patient).files)
        for patient in islice(glance(group).folders, _PATIENTS_LOOKED_AT)
    )
