"""CC-CCII and its lists: what is checked, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layouts.listing import by_name, listed, plant
from pulmospark.core.errors import InputError, LayoutError, UsageError
from pulmospark.layouts.notes import ListingNotes
from pulmospark.layouts.parsing.ct_series import in_order, natural_key
from pulmospark.layouts.registry import recognise
from pulmospark.layouts.walk import FoundFile

_HEAD = "zip_file,label,patient_id,scan_id,n_slice\n"


def _tree(root: Path, **lists: str) -> Path:
    scans = {
        "NCP/11/101": ("0001.jpg", "0002.jpg", "0003.jpg"),
        "NCP/11/102": ("1.png", "2.png", "10.png"),
        "CP/11/103": ("0001.png", "0002.png"),
        "Normal/12/104": ("0001.png", "0002.png", "0004.png"),
    }
    plant(root, {f"{scan}/{n}": f"{scan}/{n}" for scan, names in scans.items() for n in names})
    return plant(root, {name.replace("__", "."): text for name, text in lists.items()})


def test_the_real_stand_in(shared_data: Path, tmp_path: Path) -> None:
    listing, rows = listed(shared_data / "CC-CCII-layout", tmp_path)
    assert listing.layout == listing.name == "cc_ccii"
    assert listing.findings == {"CP": 48, "NCP": 48, "Normal": 48}
    assert listing.notes.counts == {"ignored_files": 1}
    assert len({row["patient_id"] for row in rows}) == 6
    assert len({row["scan_id"] for row in rows}) == 12
    assert [row["slice_index"] for row in rows] == list(range(12)) * 12
    assert {(row["view"], row["modality"]) for row in rows} == {("axial", "CT")}


def test_slices_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root")
    listing, rows = listed(root, tmp_path)
    second = [row for row in rows if row["scan_id"] == "NCP/11/102"]
    assert [Path(row["uri"]).name for row in second] == ["1.png", "2.png", "10.png"]
    assert [row["slice_index"] for row in second] == [1, 2, 10]
    # Where nothing is known, patient 11 is one: the two scans can then not be parted.
    assert {row["patient_id"] for row in rows} == {"cc_ccii:11", "cc_ccii:12"}
    assert listing.notes.counts == {
        "unchecked_scans": 4,
        "slices_out_of_order": 1,
        "slice_gaps": 2,
    }
    _, parted = listed(root, tmp_path, options={"patient_numbers": "by_class"})
    assert {row["patient_id"] for row in parted} == {
        "cc_ccii:ncp/11",
        "cc_ccii:cp/11",
        "cc_ccii:normal/12",
    }


def test_the_list_of_scans_is_checked(tmp_path: Path) -> None:
    rows_of_list = (
        "a.zip,NCP,11,101,3\n"
        "a.zip,NCP,11,101,3\n"  # twice
        "a.zip,NCP,11,102,4\n"  # one slice more than there is
        "a.zip,CP,11,103,2\n"
        "a.zip,CP,13,103,2\n"  # the number of another patient's scan; missing as well
        "a.zip,CP,13,109,9\n"  # missing
        "a.zip,CP,,,\n"
    )
    root = _tree(tmp_path / "root", unzip_filenames__csv=_HEAD + rows_of_list)
    listing, rows = listed(root, tmp_path)
    assert len(rows) == 11
    notes = listing.notes
    assert notes.counts == {
        "rows_without_path": 1,
        "missing_scans": 2,
        "unlisted_scans": 1,
        "repeated_scans": 2,
        "slice_counts_differ": 1,
        "slices_out_of_order": 1,
        "slice_gaps": 2,
        "ignored_files": 1,
    }
    assert notes.examples["missing_scans"] == ("CP/13/103", "CP/13/109")
    assert notes.examples["unlisted_scans"] == ("Normal/12/104",)
    assert notes.examples["slice_counts_differ"] == ("NCP/11/102: 3 slices, 4 listed",)


def test_twins_are_found_by_content_alone(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root")
    original = {n: (root / f"CP/11/103/{n}").read_bytes() for n in ("0001.png", "0002.png")}
    plant(root, {f"CP/11/105/{name}": data for name, data in original.items()})
    plant(root, {f"CP/14/106/{name}": data for name, data in original.items()})
    # Of the same sizes, and another content: no twin.
    plant(root, {f"CP/11/107/{name}": data[::-1] for name, data in original.items()})
    plant(root, {f"NCP/15/103/{name}": name for name in original})
    notes = listed(root, tmp_path)[0].notes
    assert notes.examples["twin_scans"] == ("CP/11/105 = CP/11/103",)
    assert notes.examples["twins_of_two_patients"] == ("CP/14/106 = CP/11/103",)
    assert notes.counts["twin_scans"] == notes.counts["twins_of_two_patients"] == 1
    assert notes.examples["repeated_scans"] == ("NCP/15/103, same number as CP/11/103",)


def test_scans_that_curators_list_as_wrong(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root", exclude_list__txt="# of an edition\nNormal 12\n\nCP_11_103\n")
    plant(root, {"NCP/328/1805/0001.png": "known to be wrong"})
    listing, rows = listed(root, tmp_path)
    assert listing.notes.examples["scans_listed_as_wrong"] == (
        "CP/11/103",
        "NCP/328/1805",
        "Normal/12/104",
    )
    assert len(rows) == 12
    listing, rows = listed(root, tmp_path, options={"wrong_scans": "leave_out"})
    assert {row["scan_id"] for row in rows} == {"NCP/11/101", "NCP/11/102"}
    assert listing.notes.counts["slices_left_out"] == 6
    (root / "exclude_list.txt").write_text("no scan at all\n")
    with pytest.raises(InputError, match=r"line 1: 'no scan at all' is not a scan"):
        listed(root, tmp_path)
    with pytest.raises(InputError, match=r"mine\.txt: cannot be read"):
        listed(root, tmp_path, options={"error_list": "mine.txt"})


def test_a_choice_by_lesions_in_some_classes_alone_is_flagged(tmp_path: Path) -> None:
    lesions = "imgpath\nNCP/11/101/0002.jpg\nNCP/11/102/10.jpg\nCP/11/103/0002.png\nNCP/x.jpg\n"
    root = _tree(tmp_path / "root", lesions_slices__csv=lesions)
    listing, rows = listed(root, tmp_path)
    assert (len(rows), listing.notes.counts["lesion_slices"]) == (11, 3)
    assert "slices_chosen_by_class" not in listing.notes.counts
    listing, rows = listed(root, tmp_path, options={"slices": "lesions"})
    assert listing.findings == {"Normal": 3, "NCP": 2, "CP": 1}
    assert listing.notes.counts["slices_left_out"] == 5
    assert listing.notes.counts["slices_chosen_by_class"] == 3
    assert listing.notes.examples["slices_chosen_by_class"] == (
        "CP: 1 of 2 slices, by the list of lesions; Normal: all",
        "NCP: 2 of 6 slices, by the list of lesions; Normal: all",
    )
    (root / "lesions_slices.csv").unlink()
    with pytest.raises(UsageError, match=r"no lesions_slices\.csv"):
        listed(root, tmp_path, options={"slices": "lesions"})


def test_age_sex_and_the_cleaned_split(tmp_path: Path) -> None:
    root = _tree(
        tmp_path / "root",
        metadata__csv="patient_id,scan_id,Age,Sex(Male=1; Female=2)\n"
        "11,101,61,1\n11,101,62,1\n11,102,62,1\n12,,33,2\n",
        ct_train__json=json.dumps({"NCP": {"11": {"101": ["0001.jpg", "0002.jpg"]}}}),
        ct_test__json=json.dumps({"Normal": {"12": {"104": ["0001.png", "gone.png"]}}}),
    )
    listing, rows = listed(root, tmp_path)
    found = {row["scan_id"]: row for row in rows}
    assert (found["NCP/11/101"]["age"], found["NCP/11/101"]["sex"]) == (61.0, "M")
    assert (found["Normal/12/104"]["age"], found["Normal/12/104"]["sex"]) == (33.0, "F")
    assert (found["CP/11/103"]["age"], found["CP/11/103"]["sex"]) == (None, None)
    assert listing.published_splits == {"train": 2, "test": 1}
    assert listing.notes.counts["slices_in_no_split"] == 8
    assert listing.notes.counts["repeated_rows"] == 1
    (root / "ct_train.json").write_text('{"NCP": ["11"]}')
    with pytest.raises(LayoutError, match="not a list of class, patient, scan"):
        listed(root, tmp_path)
    (root / "ct_train.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        listed(root, tmp_path)


def test_files_in_no_scan_are_seen(tmp_path: Path) -> None:
    root = _tree(tmp_path / "root")
    plant(root, {"NCP/11/stray.png": "", "NCP/loose.png": "", "top.png": "", "odd/a/b/c.png": ""})
    plant(root, {"NCP/11/101/0003.png": "a second slice of this number"})
    listing, rows = listed(root, tmp_path)
    found = by_name(rows)
    assert (found["stray.png"]["patient_id"], found["stray.png"]["finding"]) == (
        "cc_ccii:11",
        "NCP",
    )
    assert (found["loose.png"]["patient_id"], found["loose.png"]["finding"]) == (None, "NCP")
    assert (found["c.png"]["finding"], found["c.png"]["view"]) == (None, "unknown")
    assert listing.notes.counts["files_outside_scan"] == 2
    assert listing.notes.counts["files_outside_class"] == 2
    assert listing.notes.counts["repeated_slices"] == 1


def test_no_other_layout_takes_its_folder(tmp_path: Path) -> None:
    root = _tree(tmp_path / "CC-CCII", unzip_filenames__csv=_HEAD)
    assert recognise(root).layout.name == "cc_ccii"
    assert recognise(root.parent).folder == root


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1), st.randoms())
def test_natural_order_is_that_of_the_numbers(numbers: list[int], chance: object) -> None:
    names = [f"slice {number}.png" for number in numbers]
    chance.shuffle(names)  # type: ignore[attr-defined]
    assert sorted(names, key=natural_key) == [f"slice {n}.png" for n in sorted(numbers)]
    files = [FoundFile(name, (name,), 1, 0) for name in names]
    assert [at for at, _ in in_order(files, "scan", ListingNotes())] == sorted(numbers)


def test_a_slice_without_number_orders_by_name() -> None:
    notes = ListingNotes()
    files = [FoundFile(name, (name,), 1, 0) for name in ("b.png", "a10.png", "a9.png")]
    ordered = in_order(files, "scan", notes)
    assert [(at, file.uri) for at, file in ordered] == [
        (0, "a9.png"),
        (1, "a10.png"),
        (2, "b.png"),
    ]
    assert notes.counts == {"slices_without_number": 1}
