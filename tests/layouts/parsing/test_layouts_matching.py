"""Rows of a sheet whose paths are no file's path to the letter: which are joined, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from layouts.listing import by_name, listed, plant
from pulmospark.core.errors import InputError
from pulmospark.layouts.notes import ListingNotes, NoteKind
from pulmospark.layouts.parsing.path_matching import FilesBelow, match_rows

_HOWS = (
    NoteKind.ROWS_MATCHED_BY_NAME,
    NoteKind.ROWS_MATCHED_BY_STEM,
    NoteKind.ROWS_MATCHED_WITHOUT_CASE,
)


def _joined(
    tmp_path: Path, files: list[str], cells: list[str]
) -> tuple[dict[str, str], dict[str, int], dict[str, tuple[str, ...]]]:
    """File -> finding of its row, which is the row's cell; and what was noted."""
    root = plant(tmp_path / "set", {name: name for name in files})
    rows = "".join(f'"{cell}";"{cell}"\n' for cell in cells)
    (root / "images.csv").write_text(f"path;label\n{rows}", encoding="utf-8")
    listing, found = listed(root, tmp_path)
    below = {str(Path(row["uri"]).relative_to(root)): row["finding"] for row in found}
    told = {name: said for name, said in below.items() if said is not None}
    return told, listing.notes.counts, listing.notes.examples


@pytest.mark.parametrize(
    ("cell", "file", "how"),
    [
        ("images/a.png", "images/a.png", None),
        ("./images//a.png", "images/a.png", None),
        ("images\\a.png", "images/a.png", None),
        ("./images\\a.png", "images/a.png", None),
        ("data/../images\\a.png", "images/a.png", None),
        (" images/a.png\u00a0", "images/a.png", None),
        ("'images/a.png'", "images/a.png", None),
        # unpacked from an archive of Windows: the backslash is in the file's name
        ("images/a.png", "images\\a.png", None),
        ("a.png", "images/a.png", NoteKind.ROWS_MATCHED_BY_NAME),
        ("deep/a.png", "images/deep/a.png", NoteKind.ROWS_MATCHED_BY_NAME),
        ("/home/me/set/images/a.png", "images/a.png", NoteKind.ROWS_MATCHED_BY_NAME),
        ("C:\\Users\\me\\images\\a.png", "images/a.png", NoteKind.ROWS_MATCHED_BY_NAME),
        ("d:/images/a.png", "images/a.png", NoteKind.ROWS_MATCHED_BY_NAME),
        ("\\\\server\\share\\images\\a.png", "images/a.png", NoteKind.ROWS_MATCHED_BY_NAME),
        ("file:///dbfs/set/images/a.png", "images/a.png", NoteKind.ROWS_MATCHED_BY_NAME),
        ("/mnt/me/a.png", "a.png", NoteKind.ROWS_MATCHED_BY_NAME),
        ("a", "images/a.png", NoteKind.ROWS_MATCHED_BY_STEM),
        ("images/a", "images/a.png", NoteKind.ROWS_MATCHED_BY_STEM),
        ("images/a.jpg", "images/a.png", NoteKind.ROWS_MATCHED_BY_STEM),
        ("1.2.840.7", "dicom/1.2.840.7.dcm", NoteKind.ROWS_MATCHED_BY_STEM),
        ("1.2.840.7.dcm", "dicom/1.2.840.7.dicom", NoteKind.ROWS_MATCHED_BY_STEM),
        ("Images/A.PNG", "images/a.png", NoteKind.ROWS_MATCHED_WITHOUT_CASE),
        ("A.PNG", "images/a.png", NoteKind.ROWS_MATCHED_WITHOUT_CASE),
        # one accent, in one character and in two
        ("caf\u00e9.png", "cafe\u0301.png", NoteKind.ROWS_MATCHED_WITHOUT_CASE),
    ],
)
def test_a_row_is_joined_to_the_one_file_that_fits(
    cell: str, file: str, how: NoteKind | None, tmp_path: Path
) -> None:
    told, counts, examples = _joined(tmp_path, [file, "images/other.png"], [cell])
    assert list(told) == [file]
    assert {kind: 1 for kind in _HOWS if kind in counts} == ({how: 1} if how else {})
    if how is not None:
        assert examples[how][0].endswith(f"-> {file}")
    assert "rows_without_file" not in counts


@pytest.mark.parametrize(
    ("cells", "files", "why"),
    [
        (["a"], ["x/a.png", "y/a.png"], "a: 2 files match: x/a.png, y/a.png"),
        (["a.png"], ["x/a.png", "y/a.png"], "a.png: 2 files match: x/a.png, y/a.png"),
        (["a"], ["a.png", "a.dcm"], "a: 2 files match: a.dcm, a.png"),
        (["A.png"], ["a.png", "a.PNG"], "A.png: 2 files match: a.PNG, a.png"),
        (["x/a.png"], ["y/a.png"], "x/a.png"),
        (["p1/s/a.png"], ["p2/s/a.png"], "p1/s/a.png"),
        (["/home/p1/s/a.png"], ["p2/s/a.png"], "/home/p1/s/a.png"),
        (["C:/p1/a.png"], ["p2/a.png"], "C:/p1/a.png"),
        (["p1/a.png", "p2/a.png"], ["a.png"], "p1/a.png: a.png matches other rows, too"),
        (["ab"], ["a.png"], "ab"),
        (["z"], ["a.png"], "z: is a folder, but a row must name one image"),
        (["a"], ["a.txt", "other.png"], "a"),
    ],
)  # fmt: skip
def test_a_row_that_may_mean_another_file_has_none(
    cells: list[str], files: list[str], why: str, tmp_path: Path
) -> None:
    told, counts, examples = _joined(tmp_path, [*files, "z/other.png"], cells)
    assert told == {}
    assert counts["rows_without_file"] == len(cells)
    assert examples["rows_without_file"][0] == why
    several = len(cells) if "match" in why else 0
    assert counts.get("rows_of_several_files", 0) == several


def test_files_that_a_row_names_to_the_letter_are_no_other_row_s(tmp_path: Path) -> None:
    told, counts, _ = _joined(tmp_path, ["test/1.png"], ["train/1.png", "test/1.png"])
    assert told == {"test/1.png": "test/1.png"}
    assert counts["rows_without_file"] == 1
    told, _, _ = _joined(tmp_path, ["test/1.png"], ["1", "test/1.png"])
    assert told == {"test/1.png": "test/1.png"}


def test_the_file_that_agrees_in_more_is_taken(tmp_path: Path) -> None:
    files = ["images/a.png", "masks/a.png", "b.png", "old/B.png", "c.png", "c.dcm"]
    told, counts, _ = _joined(tmp_path, files, ["images/a", "B.png", "c.dcm"])
    assert told == {"images/a.png": "images/a", "old/B.png": "B.png", "c.dcm": "c.dcm"}
    assert "rows_of_several_files" not in counts


def test_absolute_paths_that_are_there_are_no_other_machine_s(tmp_path: Path) -> None:
    """What lies outside the root is refused, and is not taken for what has its name."""
    outside = plant(tmp_path / "elsewhere", {"images/a.png": "x"}) / "images/a.png"
    told, counts, _ = _joined(tmp_path, ["images/a.png"], [str(outside)])
    assert told == {}
    assert counts["rows_outside_root"] == 1


def test_uris_as_spark_writes_them(tmp_path: Path) -> None:
    root = tmp_path / "set"
    names = ["a b/x#1.png", "100%25.png", "ü.png", "c.png"]
    cells = [
        f"file://{root}/a%20b/x%231.png",
        f"file:{root}/100%2525.png",
        f"FILE://localhost{root}/%C3%BC.png",
        f"file:{root}/c.png",
    ]
    told, counts, _ = _joined(tmp_path, names, cells)
    assert told == dict(zip(names, cells, strict=True))
    assert not {"rows_without_file", *_HOWS} & counts.keys()
    # Hadoop's own spelling of a folder is not escaped.
    told, _, _ = _joined(tmp_path, ["d%20e/f.png"], [f"file:{root}/d%20e/f.png"])
    assert list(told) == ["d%20e/f.png"]
    for cell in ("ftp://bucket/a.png", "hdfs:/a.png", "https://example.org/a.png"):
        with pytest.raises(InputError, match=r"images\.csv, line 2: .* is not supported"):
            _joined(tmp_path, ["c.png"], [cell])


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("f13-csv-joins-no-names/c04_no_extension", {"covid": 2, "normal": 2}),
        ("f13-csv-joins-no-names/c04b_path_no_extension", {"covid": 2, "normal": 2}),
        ("f14-csv-mixed-slashes-and-uris/c01_mixed_slashes", {"covid": 2, "normal": 2}),
        ("f15-csv-head-and-encoding/c03_sep_line", {"covid": 2, "normal": 2}),
        ("f15-csv-head-and-encoding/c08_cp1252",
         {"COVID\N{EN DASH}19": 2, "Patient\N{RIGHT SINGLE QUOTATION MARK}s": 1, "normal": 1}),
    ],
)  # fmt: skip
def test_shared_cases(
    shared_cases: Path, case: str, expected: dict[str, int], tmp_path: Path
) -> None:
    listing, rows = listed(shared_cases / case, tmp_path)
    assert (listing.layout, listing.findings) == ("csv", expected)
    assert len({row["patient_id"] for row in rows}) == 4
    assert by_name(rows)["a1.png"]["patient_id"].endswith(":1")


def test_rows_are_held_against_no_more_files_than_they_may_mean(tmp_path: Path) -> None:
    """Of many files of one name, with another machine's folders in front of the rows'."""
    files = [f"p{n:03}/study1/frontal.jpg" for n in range(100)]
    root = plant(tmp_path / "set", dict.fromkeys(files, ""))
    keys = {f"/mnt/set/{name}": name for name in files}
    below = FilesBelow(keys.keys(), root, {})
    assert {key: below.ending_like(key) for key in keys} == {k: {n} for k, n in keys.items()}
    notes = ListingNotes()
    assert match_rows(keys.keys(), root, notes).files == {name: key for key, name in keys.items()}
    assert notes.count(NoteKind.ROWS_MATCHED_BY_NAME) == 100
