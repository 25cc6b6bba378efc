from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulmospark.core import limits
from pulmospark.core.errors import InputError, LayoutError
from pulmospark.layouts.notes import ListingNotes, NoteKind
from pulmospark.layouts.parsing.sheet import Facts, MetadataIndex, key_of, open_sheet
from pulmospark.layouts.walk import FoundFile

_PIECES = st.lists(
    st.sampled_from(["..", ".", "a", "b.png", "", "~", "data", "..."]) | st.text(max_size=3),
    max_size=8,
)


@settings(deadline=None)
@given(_PIECES, st.sampled_from(["/", "\\"]), st.sampled_from(["", "/", "//", "/data/", "\\"]))
def test_no_path_leaves_the_root(pieces: list[str], between: str, start: str) -> None:
    key = key_of(start + between.join(pieces), ("/data", "/real/data"))
    if key:
        assert not key.startswith("/")
        assert ".." not in PurePosixPath(key).parts
        assert "." not in key.split("/")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("images/a.png", "images/a.png"),
        ("./images//a.png", "images/a.png"),
        ("images\\a.png", "images/a.png"),
        ("images/../a.png", "a.png"),
        ("../a.png", None),
        ("images/../../a.png", None),
        ("..\\a.png", None),
        ("/etc/passwd", None),
        ("//data/a.png", "a.png"),
        ("/data/a.png", "a.png"),
        ("/data/../etc/passwd", None),
        ("/database/a.png", None),
        ("", ""),
        (".", ""),
    ],
)
def test_key(path: str, key: str | None) -> None:
    assert key_of(path, ("/data",)) == key


@pytest.mark.parametrize(
    ("raw", "finding"),
    [
        ("path,label\na.png,grippé\n".encode(), "grippé"),
        ("path,label\na.png,grippé\n".encode("utf-8-sig"), "grippé"),
        ("path,label\na.png,grippé\n".encode("latin-1"), "grippé"),
        ("path\tlabel\na.png\tgrippé\n".encode("utf-16"), "grippé"),
        ("path;label\r\na.png;grippé\r\n".encode(), "grippé"),
        (b'path|label\na.png|"a, b; c"\n', "a, b; c"),
        (b'"path","label"\n"a.png","two\nlines"\n', "two\nlines"),
        (b"\n\r\npath,label\na.png,x\n", "x"),
        # Excel's declaration of the delimiter, also as a spreadsheet saves it again.
        (b"sep=;\r\npath;label\r\na.png;x,y\r\n", "x,y"),
        (b'\xef\xbb\xbf"sep=|"\npath|label\na.png|x\n', "x"),
        (b"SEP=\t\npath\tlabel\na.png\tx\n", "x"),
        ("sep=,\npath,label\na.png,x\n".encode("utf-16"), "x"),
        ("path;label\na.png;grippé\n".encode("utf-16-le"), "grippé"),
        ("path;label\na.png;grippé\n".encode("utf-16-be"), "grippé"),
        ("path,label\na.png,grippé\n".encode("utf-32"), "grippé"),
        # Windows-1252: a dash, an ellipsis (latin-1's NEL), quotation marks and the euro.
        (
            b"path,label\na.png,COVID\x9619\x85 \x93\x80\x94\n",
            "COVID\N{EN DASH}19\N{HORIZONTAL ELLIPSIS} \N{LEFT DOUBLE QUOTATION MARK}\N{EURO SIGN}"
            "\N{RIGHT DOUBLE QUOTATION MARK}",
        ),
        (b"path,label\na.png,\x81\xe9\n", "\x81\xe9"),  # no character of Windows-1252
        (b'path,label\n="a.png",="0017"\n', "0017"),
        (b"path ,\xc2\xa0label\t\n a.png ,\xc2\xa0x \n", "x"),
        (b"path,label\r a.png,x\r", "x"),
        (b"\n \n", None),
    ],
)
def test_encodings_and_delimiters(tmp_path: Path, raw: bytes, finding: str | None) -> None:
    (tmp_path / "s.csv").write_bytes(raw)
    if finding is None:
        with pytest.raises(InputError, match="no first line"):
            open_sheet(tmp_path / "s.csv")
        return
    sheet = open_sheet(tmp_path / "s.csv")
    assert sheet.columns == ("path", "label")
    assert [(cell("path"), cell("label")) for _, cell in sheet.rows()] == [("a.png", finding)]


def test_columns_are_found_whatever_their_spelling(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("Patient ID, View-Position ,x\n1\n\n2,PA,3,4\n")
    sheet = open_sheet(tmp_path / "s.csv")
    assert sheet.need("patient_id") == "Patient ID"
    assert sheet.column("viewposition") == "View-Position"
    assert [(line, cell("View-Position")) for line, cell in sheet.rows()] == [(2, ""), (4, "PA")]
    with pytest.raises(LayoutError, match="no column 'age'"):
        sheet.need("age")


def test_sheets_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        open_sheet(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        open_sheet(tmp_path)
    (tmp_path / "wide.csv").write_text("x" * (limits.SHEET_HEAD_BYTES + 1))
    with pytest.raises(InputError, match="first line is over"):
        open_sheet(tmp_path / "wide.csv")
    (tmp_path / "cell.csv").write_text('a,b\n"' + "x" * 200_000 + '",1\n')
    with pytest.raises(InputError, match="cannot be read as a table"):
        list(open_sheet(tmp_path / "cell.csv").rows())
    monkeypatch.setattr(limits, "METADATA_FILE_BYTES_MAX", 10)
    with pytest.raises(InputError, match="over the limit of 10"):
        open_sheet(tmp_path / "cell.csv")


def test_patients_who_share_a_image_are_one() -> None:
    notes = ListingNotes()
    index = MetadataIndex(notes)
    rows = [("a", "s:1"), ("b", "s:2"), ("c", "s:3"), ("d", "s:4"), ("b", "s:1"), ("c", "s:2")]
    for key, patient in rows:
        index.add(key, Facts(patient_id=patient))
    told = {
        key: index.row(FoundFile(f"/{key}", (key,), 0, 0), key, "s").patient_id for key in "abcd"
    }
    assert told["a"] == told["b"] == told["c"] != told["d"]
    assert notes.count(NoteKind.CONFLICTING_PATIENTS) == 2
    index.close()
    assert notes.count(NoteKind.ROWS_WITHOUT_FILE) == 0
