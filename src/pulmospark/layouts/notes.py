"""What a listing found odd: everything is counted, nothing is dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import ConfigDict, Field

from pulmospark.core import limits
from pulmospark.core.records import Record

NO_EXTENSION, OTHER_EXTENSIONS = "(none)", "(other)"
_REASONS = {
    NO_EXTENSION: "without extension whose content is no image's",
    OTHER_EXTENSIONS: "of other extensions",
    ".gz": ".gz (unpack them; CT volumes, .nii.gz, are not read)",
    ".nii": ".nii (CT volumes are not read)",
    ".zip": ".zip (unpack them)",
}
"""extension -> what is said of files that are ignored for it; of others the extension is"""


class NoteKind(StrEnum):
    """What may be odd about a source; the list is closed."""

    ROWS_WITHOUT_FILE = "rows_without_file"
    """a metadata row names a file that is not there"""
    FILES_WITHOUT_ROW = "files_without_row"
    """an image file that no metadata row names; it is seen, and has no finding"""
    FILES_OUTSIDE_CLASS = "files_outside_class"
    """an image file in no class folder; it is seen, and has no finding"""
    FILES_BELOW_CLASS = "files_below_class"
    """an image file in a folder below its class folder: a folder a patient, perhaps"""
    FILES_IN_OTHER_FOLDERS = "files_in_other_folders"
    """an image file in a folder of which the layout says that it holds no images of the data
    set, next to ``images`` and ``masks``, say; excluded"""
    FILES_OF_SAME_NAME = "files_of_same_name"
    """a second file of the name that one metadata row gives; both take the row"""
    ROWS_MATCHED_BY_NAME = "rows_matched_by_name"
    """a metadata row whose folders are not the file's, or which names none; the name, and the
    folders that both have, are the same"""
    ROWS_MATCHED_BY_STEM = "rows_matched_by_stem"
    """a metadata row that names its file without its extension, or with another"""
    ROWS_MATCHED_WITHOUT_CASE = "rows_matched_without_case"
    """a metadata row whose path differs from the file's in upper and lower case"""
    ROWS_OF_SEVERAL_FILES = "rows_of_several_files"
    """a metadata row that several files fit, or a file that several rows claim; none is taken"""
    REPEATED_ROWS = "repeated_rows"
    """a metadata row for a file that had one; the first is used"""
    CONFLICTING_FINDINGS = "conflicting_findings"
    """repeated rows of different findings"""
    CONFLICTING_PATIENTS = "conflicting_patients"
    """repeated rows of different patients; the two are taken as one, lest they be parted"""
    ROWS_WITHOUT_PATH = "rows_without_path"
    """a metadata row that names no file"""
    ROWS_OUTSIDE_ROOT = "rows_outside_root"
    """a metadata row whose path leaves the source's folder; it is not followed"""
    ROWS_OF_VOLUMES = "rows_of_volumes"
    """a metadata row of a CT volume (NIfTI)"""
    SPLIT_NAMES_WITHOUT_ROW = "split_names_without_row"
    """a name in a published split's list that the metadata lacks"""
    UNUSABLE_AGES = "unusable_ages"
    """an age that is no number, or outside 0 to ``limits.AGE_YEARS_MAX`` years; left empty"""
    UNKNOWN_VIEWS = "unknown_views"
    """a view position in no known spelling; taken as unknown"""
    MASKS = "masks"
    """a lung mask; not a film, it goes with one"""
    INFECTION_MASKS = "infection_masks"
    """a mask of the infected part of a lung; not a film, and kept in no table"""
    MASKS_WITHOUT_IMAGE = "masks_without_image"
    """a lung mask that belongs to no film"""
    IMAGES_WITHOUT_MASK = "images_without_mask"
    """a film without the lung mask that its neighbours have"""
    NESTED_COPIES = "nested_copies"
    """a file of the copy that lies inside the data set; left out"""
    MISSING_SCANS = "missing_scans"
    """a scan that the data set's list of scans names and that is not there"""
    UNLISTED_SCANS = "unlisted_scans"
    """a scan that is there and that the list of scans does not name; it is seen"""
    UNCHECKED_SCANS = "unchecked_scans"
    """a scan of a data set whose list of scans is not there, so that nothing could be checked"""
    REPEATED_SCANS = "repeated_scans"
    """a scan that the list names twice, or whose number lies in two places"""
    TWIN_SCANS = "twin_scans"
    """a scan with the same slices, byte by byte, as another of the same patient"""
    TWINS_OF_TWO_PATIENTS = "twins_of_two_patients"
    """a scan with the same slices, byte by byte, as one of another patient"""
    SCANS_LISTED_AS_WRONG = "scans_listed_as_wrong"
    """a scan that those who curated the data set list as an error"""
    SLICE_COUNTS_DIFFER = "slice_counts_differ"
    """a scan with another number of slices than its list says"""
    SLICES_OUT_OF_ORDER = "slices_out_of_order"
    """a scan whose file names, sorted as text, are not in the order of their numbers; the numbers
    are used"""
    SLICE_GAPS = "slice_gaps"
    """a scan whose slices' numbers have gaps"""
    REPEATED_SLICES = "repeated_slices"
    """a scan with two slices of one number; both are seen"""
    SLICES_WITHOUT_NUMBER = "slices_without_number"
    """a scan with a slice whose name has no number; the order of the names is used"""
    FILES_OUTSIDE_SCAN = "files_outside_scan"
    """an image file in a class folder, but in no patient's scan"""
    LESION_SLICES = "lesion_slices"
    """a slice that a list of slices with lesions names"""
    SLICES_LEFT_OUT = "slices_left_out"
    """a slice that was left out because the source's options ask for it"""
    SLICES_CHOSEN_BY_CLASS = "slices_chosen_by_class"
    """a slice of a class of which only chosen slices are there, those with lesions, say, while
    all of another class are: a model may tell the two by what no chosen slice shows"""
    SLICES_IN_NO_SPLIT = "slices_in_no_split"
    """a slice that the data set's published split leaves out"""
    IGNORED_FILES = "ignored_files"
    """a file with no image's extension that no metadata row names"""
    HIDDEN_ENTRIES = "hidden_entries"
    """a file or folder that is hidden, or the ``__MACOSX`` of an archive; left out"""
    SYMLINKS_LEFT_OUT = "symlinks_left_out"
    """a symbolic link to a folder, or to nothing"""
    SPECIAL_FILES = "special_files"
    """a pipe, socket or device"""
    UNREADABLE_FOLDERS = "unreadable_folders"
    """a folder that may not be listed"""
    BAD_NAMES = "bad_names"
    """an image file whose name is no valid UTF-8; it is seen, and rejected"""


class NotesSummary(Record):
    """What a listing found odd, frozen and fit for JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    counts: dict[str, int]
    """``NoteKind`` -> how many; those that did not occur are left out"""
    examples: dict[str, tuple[str, ...]]
    """``NoteKind`` -> the first few"""
    columns: dict[str, tuple[str, bool]] = Field(default_factory=dict)
    """of a sheet of the user's own: what a column was taken for -> its name, and whether that was
    guessed"""
    ignored_extensions: dict[str, int]
    """extension in lower case, with its dot -> how many files were ignored for it"""

    def ignored(self) -> str:
        """How many files were ignored for which reason, in a line; empty where none was."""
        return ", ".join(
            f"{count:,} {_REASONS.get(extension, extension)}"
            for extension, count in self.ignored_extensions.items()
        )


@dataclass(slots=True)
class ListingNotes:
    """Collects what a listing finds odd; its size does not grow with the number of files."""

    counts: dict[NoteKind, int] = field(default_factory=dict)
    examples: dict[NoteKind, list[str]] = field(default_factory=dict)
    ignored_extensions: dict[str, int] = field(default_factory=dict)
    columns: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """as :attr:`NotesSummary.columns`"""

    def add(self, kind: NoteKind, example: str, count: int = 1) -> None:
        """Count one more oddity (or ``count``), with the text that shows it."""
        self.counts[kind] = self.counts.get(kind, 0) + count
        kept = self.examples.setdefault(kind, [])
        if len(kept) < limits.NOTE_EXAMPLES_MAX:
            kept.append(printable(example)[: limits.DETAIL_CHARS_MAX])

    def ignore(self, name: str) -> None:
        """Count an ignored file under its extension."""
        dot = name.rfind(".")
        extension = printable(name[dot:].lower()) if dot > 0 else NO_EXTENSION
        if extension[1:].isdigit():  # the end of a UID, say
            extension = NO_EXTENSION
        seen = self.ignored_extensions
        if extension not in seen and len(seen) >= limits.NOTE_EXTENSIONS_MAX:
            extension = OTHER_EXTENSIONS
        seen[extension] = seen.get(extension, 0) + 1
        self.add(NoteKind.IGNORED_FILES, name)

    def count(self, kind: NoteKind) -> int:
        """How many of a kind there are."""
        return self.counts.get(kind, 0)

    def summary(self) -> NotesSummary:
        """What was collected, frozen."""
        return NotesSummary(
            counts={kind.value: self.counts[kind] for kind in NoteKind if kind in self.counts},
            examples={
                kind.value: tuple(self.examples[kind]) for kind in NoteKind if kind in self.counts
            },
            ignored_extensions=dict(sorted(self.ignored_extensions.items())),
            columns=dict(self.columns),
        )


def printable(name: str) -> str:
    """``name`` with the bytes that are no UTF-8 written out as ``\\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
