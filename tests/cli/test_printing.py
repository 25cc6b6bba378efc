"""How the terminal shows a listing."""

from __future__ import annotations

from pulmospark.cli.printing import listing_notes
from pulmospark.layouts.notes import ListingNotes, NoteKind


def test_a_listing_says_what_was_guessed_matched_and_ignored() -> None:
    notes = ListingNotes()
    notes.columns.update({"path": ("image_id", True), "label": ("dx", False)})
    notes.columns["patient"] = ("PatID", True)
    notes.add(NoteKind.ROWS_MATCHED_BY_STEM, "a1 -> images/a1.png")
    notes.add(NoteKind.ROWS_MATCHED_BY_STEM, "a2 -> images/a2.png")
    notes.add(NoteKind.ROWS_MATCHED_BY_STEM, "a3 -> images/a3.png", 1_998)
    notes.add(NoteKind.ROWS_WITHOUT_FILE, "b: 2 files match: x/b.png, y/b.png")
    notes.add(NoteKind.HIDDEN_ENTRIES, ".b.png")
    for name in ("README", "labels.csv", "more.csv"):
        notes.ignore(name)
    assert list(listing_notes(notes.summary())) == [
        "columns guessed: path = image_id, patient = PatID; override with --option "
        "<what>_column=NAME",
        "columns as specified: label = dx",
        "rows matched by stem: 2,000, for example a1 -> images/a1.png; a2 -> images/a2.png",
        "rows without file: 1, for example b: 2 files match: x/b.png, y/b.png",
        "ignored: 1 without an extension or image content, 2 .csv",
    ]
    assert list(listing_notes(ListingNotes().summary())) == []
