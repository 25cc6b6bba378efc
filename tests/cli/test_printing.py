"""How the terminal shows a listing."""

from __future__ import annotations

from pulmospark.cli.printing import listing_notes, oddities
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


def test_one_of_a_kind_is_named_in_the_singular() -> None:
    notes = ListingNotes()
    kinds = (NoteKind.HIDDEN_ENTRIES, NoteKind.TWINS_OF_TWO_PATIENTS, NoteKind.NESTED_COPIES)
    for kind in kinds:
        notes.add(kind, "x")
    notes.add(NoteKind.REPEATED_ROWS, "x", 1_200)
    said = oddities(notes.summary())
    for words in ("1 hidden entry", "1 twin of two patients", "1 nested copy"):
        assert words in said
    assert "1,200 repeated rows" in said
