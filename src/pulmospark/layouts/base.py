"""Base class of all layouts: a name, a home, a test of a folder, and rows of the manifest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pulmospark.core.errors import UsageError
from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.notes import ListingNotes, NoteKind, NotesSummary
from pulmospark.layouts.walk import FoundFile

__all__ = ["Layout", "ListingNotes", "ManifestRow", "NoteKind", "NotesSummary", "row_of"]


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One listed file; the fields are the columns of ``core.schemas.MANIFEST``, in its order."""

    uri: str
    source: str
    patient_id: str | None
    study_id: str | None
    scan_id: str | None
    slice_index: int | None
    finding: str | None
    view: View
    modality: Modality
    age: float | None
    sex: str | None
    mask_uri: str | None
    published_split: str | None
    size_bytes: int
    modified_ns: int
    problem: str | None
    header_patient: bool = True
    """from its layout, see ``Layout.header_patient``"""


def row_of(
    file: FoundFile,
    source: str,
    *,
    patient_id: str | None = None,
    study_id: str | None = None,
    scan_id: str | None = None,
    slice_index: int | None = None,
    finding: str | None = None,
    view: View = View.UNKNOWN,
    modality: Modality = Modality.UNKNOWN,
    age: float | None = None,
    sex: str | None = None,
    mask_uri: str | None = None,
    published_split: str | None = None,
) -> ManifestRow:
    """The manifest row of a listed file, with what the layout knows of it.

    A file with a problem keeps only its path: facts read from an undecodable name cannot be
    stored in a table.
    """
    if file.problem is not None:
        patient_id = study_id = scan_id = finding = sex = mask_uri = published_split = None
        slice_index = age = None
        view, modality = View.UNKNOWN, Modality.UNKNOWN
    return ManifestRow(
        uri=file.uri,
        source=source,
        patient_id=patient_id,
        study_id=study_id,
        scan_id=scan_id,
        slice_index=slice_index,
        finding=finding,
        view=view,
        modality=modality,
        age=age,
        sex=sex,
        mask_uri=mask_uri,
        published_split=published_split,
        size_bytes=file.size_bytes,
        modified_ns=file.modified_ns,
        problem=file.problem,
    )


class Layout(ABC):
    """How one data set, or one kind of folder, is laid out on disk. Stateless."""

    name: ClassVar[str]
    """value of ``layout =`` and ``--layout``"""
    title: ClassVar[str]
    """the data set's name as its publishers write it"""
    home: ClassVar[str]
    """where to get it"""
    licence: ClassVar[str]
    """in the publishers' words, as far as known"""
    holds: ClassVar[str]
    """its content"""
    looked_for: ClassVar[str]
    """how a folder is recognised"""
    faults: ClassVar[tuple[str, ...]] = ()
    """known errors and pitfalls of the data set, for its users"""
    download: ClassVar[str | None] = None
    """URL of a ZIP archive, if it is available without an agreement"""
    generic: ClassVar[bool] = False
    """a kind of folder rather than one data set: sources are named after their folders"""
    header_patient: ClassVar[bool] = True
    """whether PatientID in its DICOM headers identifies a patient: some publishers store an
    image's
    id there, which would separate a patient's images"""
    paediatric: ClassVar[Mapping[str, bool]] = {}
    """finding -> whether its images are of children (true) or adults (false), if the publisher
    states so for all of them; ``*``: every finding"""
    options: ClassVar[Mapping[str, str]] = {}
    """option -> its meaning"""

    @abstractmethod
    def recognises(self, folder: Path) -> float:
        """Confidence that ``folder`` has this layout, 0 to 1; looks at a few entries."""

    @abstractmethod
    def rows(
        self,
        folder: Path,
        source_name: str,
        options: Mapping[str, str],
        notes: ListingNotes,
    ) -> Iterator[ManifestRow]:
        """The manifest rows of ``folder``, one per listed file, in a stable order.

        Args:
            folder: absolute; of the data set, or the CSV file if the layout takes one.
            source_name: name of the source, which prefixes the patients.
            options: of the layout, by name.
            notes: collects irregularities; complete after the last row.

        Raises:
            LayoutError: the folder lacks what the layout needs.
            InputError: a metadata sheet cannot be read, or folders lie too deep.
            UsageError: an option is unknown or its value is wrong.
        """

    def territory(self, folder: Path, options: Mapping[str, str]) -> tuple[Path, bool]:
        """The folder whose files are listed, and whether each image in it becomes a row."""
        del options
        return folder, True

    def check_options(self, options: Mapping[str, str]) -> None:
        """Refuse an option that the layout does not have.

        Raises:
            UsageError: the option is unknown; the message lists the known ones.
        """
        for option in options:
            if option not in self.options:
                known = ", ".join(sorted(self.options)) or "none"
                raise UsageError(
                    f"options: no option {option!r} in the layout {self.name!r}; "
                    f"choose from: {known}"
                )

    def choice(self, options: Mapping[str, str], option: str, allowed: tuple[str, ...]) -> str:
        """The value of an option; by default the first of ``allowed``.

        Raises:
            UsageError: the value is not allowed.
        """
        value = options.get(option, allowed[0])
        if value not in allowed:
            raise UsageError(f"options: {option} is {value!r}, must be {' or '.join(allowed)}")
        return value
