"""Irregularities of a listing: everything is counted, nothing is dropped silently."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import ConfigDict, Field

from pulmospark.core import limits
from pulmospark.core.records import Record

NO_EXTENSION, OTHER_EXTENSIONS = "(none)", "(other)"
_REASONS = {
    NO_EXTENSION: "without an extension or image content",
    OTHER_EXTENSIONS: "with other extensions",
    ".gz": ".gz (unpack them; CT volumes, .nii.gz, are not read)",
    ".nii": ".nii (CT volumes are not read)",
    ".zip": ".zip (name them as inputs of their own)",
}
"""extension -> description of files ignored for it; by default the extension"""


class NoteKind(StrEnum):
    """Irregularities of a source; the list is closed."""

    ROWS_WITHOUT_FILE = "rows_without_file"
    """a metadata row names a missing file"""
    FILES_WITHOUT_ROW = "files_without_row"
    """an image file without a metadata row; it is listed, without a finding"""
    FILES_OUTSIDE_CLASS = "files_outside_class"
    """an image file in no class folder; it is listed, without a finding"""
    FILES_BELOW_CLASS = "files_below_class"
    """an image file in a folder below its class folder, perhaps one folder per patient"""
    FILES_IN_OTHER_FOLDERS = "files_in_other_folders"
    """an image file in a folder that contains no images of the data set according to the layout,
    for example next to ``images`` and ``masks``; excluded"""
    FILES_OF_SAME_NAME = "files_of_same_name"
    """a second file with the name in one metadata row; both get the row"""
    ROWS_MATCHED_BY_NAME = "rows_matched_by_name"
    """a metadata row with other folders than the file, or none; the name, and the folders that
    both have, are the same"""
    ROWS_MATCHED_BY_STEM = "rows_matched_by_stem"
    """a metadata row that names its file without its extension, or with another"""
    ROWS_MATCHED_WITHOUT_CASE = "rows_matched_without_case"
    """a metadata row whose path differs from the file's in upper and lower case"""
    ROWS_OF_SEVERAL_FILES = "rows_of_several_files"
    """a metadata row that matches several files, or a file that several rows claim; unmatched"""
    REPEATED_ROWS = "repeated_rows"
    """a further metadata row for a file; the first is used"""
    CONFLICTING_FINDINGS = "conflicting_findings"
    """repeated rows with different findings"""
    CONFLICTING_PATIENTS = "conflicting_patients"
    """repeated rows with different patients; the two are merged, so no split separates them"""
    ROWS_WITHOUT_PATH = "rows_without_path"
    """a metadata row that names no file"""
    ROWS_OUTSIDE_ROOT = "rows_outside_root"
    """a metadata row whose path leaves the source's folder; not followed"""
    ROWS_OF_VOLUMES = "rows_of_volumes"
    """a metadata row of a CT volume (NIfTI)"""
    SPLIT_NAMES_WITHOUT_ROW = "split_names_without_row"
    """a name in a published split's list without metadata"""
    UNUSABLE_AGES = "unusable_ages"
    """an age that is not a number, or outside 0 to ``limits.AGE_YEARS_MAX`` years; left empty"""
    UNKNOWN_VIEWS = "unknown_views"
    """a view position in an unknown spelling; treated as unknown"""
    MASKS = "masks"
    """a lung mask; not an image, but stored with one"""
    INFECTION_MASKS = "infection_masks"
    """a mask of the infected part of a lung; not an image, and in no table"""
    MASKS_WITHOUT_IMAGE = "masks_without_image"
    """a lung mask without an image"""
    IMAGES_WITHOUT_MASK = "images_without_mask"
    """an image without the lung mask that its neighbours have"""
    NESTED_COPIES = "nested_copies"
    """a file of the copy inside the data set; excluded"""
    MISSING_SCANS = "missing_scans"
    """a scan in the data set's list of scans, but without files"""
    UNLISTED_SCANS = "unlisted_scans"
    """a scan that is not in the list of scans; it is listed"""
    UNCHECKED_SCANS = "unchecked_scans"
    """a scan of a data set without its list of scans, so that it could not be checked"""
    REPEATED_SCANS = "repeated_scans"
    """a scan that is in the list twice, or whose number occurs in two places"""
    TWIN_SCANS = "twin_scans"
    """a scan with the same slices, byte for byte, as another of the same patient"""
    TWINS_OF_TWO_PATIENTS = "twins_of_two_patients"
    """a scan with the same slices, byte for byte, as one of another patient"""
    SCANS_LISTED_AS_WRONG = "scans_listed_as_wrong"
    """a scan that curators of the data set list as an error"""
    SLICE_COUNTS_DIFFER = "slice_counts_differ"
    """a scan with another number of slices than in its list"""
    SLICES_OUT_OF_ORDER = "slices_out_of_order"
    """a scan whose file names, sorted as text, are not in the order of their numbers; the numbers
    are used"""
    SLICE_GAPS = "slice_gaps"
    """a scan with gaps in the slice numbers"""
    REPEATED_SLICES = "repeated_slices"
    """a scan with two slices of one number; both are listed"""
    SLICES_WITHOUT_NUMBER = "slices_without_number"
    """a scan with a slice whose name has no number; the order of the names is used"""
    FILES_OUTSIDE_SCAN = "files_outside_scan"
    """an image file in a class folder, but in no patient's scan"""
    LESION_SLICES = "lesion_slices"
    """a slice in a list of slices with lesions"""
    SLICES_LEFT_OUT = "slices_left_out"
    """a slice that the source's options exclude"""
    SLICES_CHOSEN_BY_CLASS = "slices_chosen_by_class"
    """a slice of a class with only selected slices, such as those with lesions, while another
    class is complete: a model may distinguish them by anatomy that no selected slice shows"""
    SLICES_IN_NO_SPLIT = "slices_in_no_split"
    """a slice that is not in the data set's published split"""
    IGNORED_FILES = "ignored_files"
    """a file without an image extension and without a metadata row"""
    HIDDEN_ENTRIES = "hidden_entries"
    """a hidden file or folder, or an archive's ``__MACOSX``; excluded"""
    SYMLINKS_LEFT_OUT = "symlinks_left_out"
    """a symbolic link to a folder, or a dangling one"""
    SPECIAL_FILES = "special_files"
    """a pipe, socket or device"""
    UNREADABLE_FOLDERS = "unreadable_folders"
    """a folder without permission to list it"""
    BAD_NAMES = "bad_names"
    """an image file whose name is not valid UTF-8; it is listed, and rejected"""


class NotesSummary(Record):
    """Irregularities of a listing, frozen and fit for JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts: dict[str, int]
    """``NoteKind`` -> count, without zeros"""
    examples: dict[str, tuple[str, ...]]
    """``NoteKind`` -> the first few"""
    columns: dict[str, tuple[str, bool]] = Field(default_factory=dict)
    """of a user's sheet: meaning of a column -> its name, and whether it was guessed"""
    ignored_extensions: dict[str, int]
    """extension in lower case, with its dot -> number of files ignored for it"""

    def ignored(self) -> str:
        """Counts of ignored files by reason, in a line; empty if there are none."""
        return ", ".join(
            f"{count:,} {_REASONS.get(extension, extension)}"
            for extension, count in self.ignored_extensions.items()
        )


@dataclass(slots=True)
class ListingNotes:
    """Collects irregularities of a listing; its size does not grow with the number of files."""

    counts: dict[NoteKind, int] = field(default_factory=dict)
    examples: dict[NoteKind, list[str]] = field(default_factory=dict)
    ignored_extensions: dict[str, int] = field(default_factory=dict)
    columns: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """as :attr:`NotesSummary.columns`"""

    def add(self, kind: NoteKind, example: str, count: int = 1) -> None:
        """Count an irregularity (or ``count``), with an example."""
        self.counts[kind] = self.counts.get(kind, 0) + count
        kept = self.examples.setdefault(kind, [])
        if len(kept) < limits.NOTE_EXAMPLES_MAX:
            kept.append(printable(example)[: limits.DETAIL_CHARS_MAX])

    def ignore(self, name: str) -> None:
        """Count an ignored file under its extension."""
        dot = name.rfind(".")
        extension = printable(name[dot:].lower()) if dot > 0 else NO_EXTENSION
        if extension[1:].isdigit():  # such as the end of a UID
            extension = NO_EXTENSION
        seen = self.ignored_extensions
        if extension not in seen and len(seen) >= limits.NOTE_EXTENSIONS_MAX:
            extension = OTHER_EXTENSIONS
        seen[extension] = seen.get(extension, 0) + 1
        self.add(NoteKind.IGNORED_FILES, name)

    def count(self, kind: NoteKind) -> int:
        """The number of notes of a kind."""
        return self.counts.get(kind, 0)

    def summary(self) -> NotesSummary:
        """The collected notes, frozen."""
        return NotesSummary(
            counts={kind.value: self.counts[kind] for kind in NoteKind if kind in self.counts},
            examples={
                kind.value: tuple(self.examples[kind]) for kind in NoteKind if kind in self.counts
            },
            ignored_extensions=dict(sorted(self.ignored_extensions.items())),
            columns=dict(self.columns),
        )


def printable(name: str) -> str:
    """``name`` with bytes that are not UTF-8 written as ``\\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
