from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulmospark.core import limits
from pulmospark.core.schemas import Modality, View
from pulmospark.layouts.notes import ListingNotes, NoteKind
from pulmospark.layouts.parsing import values


@pytest.mark.parametrize(
    ("spelled", "view"),
    [
        ("PA", View.PA),
        (" ap ", View.AP),
        ("AP Supine", View.AP_SUPINE),
        ("AP_supine", View.AP_SUPINE),
        ("L", View.LATERAL),
        ("lateral view", View.LATERAL),
        ("Axial", View.AXIAL),
        ("Coronal", View.AXIAL),
        ("", View.UNKNOWN),
        (None, View.UNKNOWN),
    ],
)
def test_view(spelled: str | None, view: View) -> None:
    notes = ListingNotes()
    assert values.view(spelled, notes) is view
    assert not notes.counts


def test_view_that_is_not_known_is_noted() -> None:
    notes = ListingNotes()
    assert values.view("oblique", notes) is View.UNKNOWN
    assert notes.count(NoteKind.UNKNOWN_VIEWS) == 1


@pytest.mark.parametrize(
    ("spelled", "years"),
    [
        ("58", 58.0),
        ("58.0", 58.0),
        ("058Y", 58.0),
        ("006M", 0.5),
        ("0", 0.0),
        ("120", 120.0),
        ("", None),
        ("nan", None),
    ],
)
def test_age(spelled: str, years: float | None) -> None:
    notes = ListingNotes()
    assert values.age_years(spelled, notes) == years
    assert not notes.counts


@pytest.mark.parametrize("spelled", ["414", "-1", "121", "sixty", "5e3", "inf", "1" * 40, "٣٤٥٦"])
def test_age_that_cannot_be(spelled: str) -> None:
    notes = ListingNotes()
    assert values.age_years(spelled, notes) is None
    assert notes.count(NoteKind.UNUSABLE_AGES) == 1


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_age_is_plausible_or_none(spelled: str) -> None:
    years = values.age_years(spelled, ListingNotes())
    assert years is None or 0 <= years <= limits.AGE_YEARS_MAX


@pytest.mark.parametrize(
    ("spelled", "said"),
    [("M", "M"), ("female", "F"), (" f", "F"), ("", None), ("O", None), (None, None)],
)
def test_sex(spelled: str | None, said: str | None) -> None:
    assert values.sex(spelled) == said


def test_patient_id_is_one_whatever_its_spelling() -> None:
    assert values.patient_id("nih14", "  P 007 ") == "nih14:p 007"
    assert values.patient_id("nih14", "p  007") == "nih14:p 007"
    assert [values.patient_id("a", text) for text in ("", "  ", "NaN", None)] == [None] * 4
    assert values.patient_id("a", "1") != values.patient_id("b", "1")


def test_modality_and_split() -> None:
    assert values.modality(" x-ray") is Modality.XRAY
    assert values.modality("CT") is Modality.CT
    assert values.modality("MR") is Modality.UNKNOWN
    assert [values.split(text) for text in ("Train", "val", "TEST", "holdout")] == [
        "train",
        "validation",
        "test",
        None,
    ]
