from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layouts.listing import listed, plant
from pulmospark.config.source import SourceSettings
from pulmospark.core import limits
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.schemas import RejectReason
from pulmospark.layouts.manifest import write_manifest
from pulmospark.layouts.notes import ListingNotes, NoteKind, printable
from pulmospark.layouts.walk import FoundFile, is_image_name, walk


def _walk(root: Path) -> tuple[list[FoundFile], ListingNotes]:
    notes = ListingNotes()
    return list(walk(root, notes)), notes


def test_order_is_that_of_the_names(tmp_path: Path) -> None:
    plant(tmp_path, {"b/2.png": "", "b/1.png": "", "a/z.png": "", "c.PNG": "xy", "a/y/x.dcm": ""})
    files, notes = _walk(tmp_path)
    assert ["/".join(file.parts) for file in files] == [
        "c.PNG",
        "a/z.png",
        "a/y/x.dcm",
        "b/1.png",
        "b/2.png",
    ]
    assert files[0].uri == str(tmp_path / "c.PNG")
    assert files[0].size_bytes == 2
    assert files[0].modified_ns == (tmp_path / "c.PNG").stat().st_mtime_ns
    assert not notes.counts


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "a.jpg": "",
            "notes.TXT": "",
            "README": "",
            "Thumbs.db": "",
            "sheet.csv": "",
            "more.csv": "",
            ".DS_Store": "",
            "._a.jpg": "",
            "__MACOSX/b.jpg": "",
        },
    )
    files, notes = _walk(tmp_path)
    assert [file.parts for file in files] == [("a.jpg",)]
    assert notes.ignored_extensions == {"(none)": 1, ".txt": 1, ".db": 1, ".csv": 2}
    assert notes.count(NoteKind.IGNORED_FILES) == 5
    assert notes.count(NoteKind.HIDDEN_ENTRIES) == 3


def test_links_and_special_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    plant(root, {"real.png": "abc"})
    plant(tmp_path, {"away/elsewhere.png": "abcd", "away/other.png": ""})
    (root / "link.png").symlink_to(tmp_path / "away/elsewhere.png")
    (root / "broken.png").symlink_to(root / "nothing.png")
    (root / "folder").symlink_to(tmp_path / "away")
    (root / "folder.png").symlink_to(tmp_path / "away")
    (root / "loop.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe.png")
    files, notes = _walk(root)
    assert {file.parts[0]: file.size_bytes for file in files} == {"link.png": 4, "real.png": 3}
    assert notes.count(NoteKind.SYMLINKS_LEFT_OUT) == 4
    assert notes.ignored_extensions == {}
    assert notes.count(NoteKind.SPECIAL_FILES) == 1


def test_name_that_is_no_utf8_is_a_row_with_its_reason(tmp_path: Path) -> None:
    root = tmp_path / "root"
    plant(root, {"A/good.png": "", "B/good.png": ""})
    Path(os.fsdecode(os.fsencode(root / "A") + b"/b\xffd.png")).write_bytes(b"1")
    folder = Path(os.fsdecode(os.fsencode(root) + b"/C\xfe"))
    folder.mkdir()
    (folder / "in.png").write_bytes(b"22")
    listing, rows = listed(root, tmp_path, layout="class_folders")
    bad = [row for row in rows if row["problem"] is not None]
    assert {row["problem"] for row in bad} == {RejectReason.BAD_NAME.value}
    assert {row["uri"] for row in bad} == {f"{root}/A/b\\xffd.png", f"{root}/C\\xfe/in.png"}
    assert {row["finding"] for row in bad} == {None}
    assert listing.notes.counts["bad_names"] == 2
    assert listing.model_dump_json()


def test_depth_has_a_limit(tmp_path: Path) -> None:
    deep = "/".join("d" * limits.FOLDER_DEPTH_MAX)
    plant(tmp_path, {f"{deep}/a.png": ""})
    assert len(_walk(tmp_path)[0]) == 1
    plant(tmp_path, {f"{deep}/d/a.png": ""})
    with pytest.raises(InputError, match=f"the maximum is {limits.FOLDER_DEPTH_MAX}"):
        _walk(tmp_path)


def test_file_that_vanishes_while_listing_is_a_row(tmp_path: Path) -> None:
    plant(tmp_path, {"a.png": "1", "b.png": "1"})
    files = walk(tmp_path, ListingNotes())
    assert next(files).problem is None
    (tmp_path / "b.png").unlink()
    assert next(files).problem == RejectReason.VANISHED


def test_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be listed"):
        _walk(tmp_path / "none")


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=12))
def test_printable_is_text_whatever_the_bytes(raw: bytes) -> None:
    printable(os.fsdecode(raw)).encode("utf-8")


def test_notes_are_bounded() -> None:
    notes = ListingNotes()
    for i in range(1000):
        notes.ignore(f"file.x{i}")
    summary = notes.summary()
    assert summary.counts == {"ignored_files": 1000}
    assert len(summary.examples["ignored_files"]) == limits.NOTE_EXAMPLES_MAX
    assert sum(summary.ignored_extensions.values()) == 1000
    assert len(summary.ignored_extensions) == limits.NOTE_EXTENSIONS_MAX + 1


def test_image_names() -> None:
    assert all(
        is_image_name(f"a.{e}")
        for e in ("jpg", "JPEG", "Png", "tif", "dcm", "webp", "jfif", "JPE", "dib")
    )
    assert not any(is_image_name(name) for name in ("a.csv", "png", "a.png.txt", "a.nii.gz"))


def _peak_bytes(root: Path, files: int, folders: int) -> int:
    """Most that Python held at once while a manifest was written."""
    for i in range(folders):
        place = root / f"class{i}"
        place.mkdir(parents=True)
        for j in range(files // folders):
            os.close(os.open(f"{place}/{j:05d}.png", os.O_CREAT | os.O_WRONLY))
    tracemalloc.start()
    try:
        (listing,) = write_manifest([SourceSettings(path=root)], root.with_suffix(".parquet"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert listing.files == files
    return peak


def test_memory_does_not_grow_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIST_GROUP_ROWS", 256)  # rows that are held before written
    _peak_bytes(tmp_path / "warm", 1_000, 2)  # what is loaded once is no growth
    few = _peak_bytes(tmp_path / "few", 1_000, 2)
    many = _peak_bytes(tmp_path / "many", 20_000, 40)
    assert many < few * 1.1 + 16 * 1024
    # In one folder the names are held, to give them in their order, and nothing else.
    wide = _peak_bytes(tmp_path / "wide", 5_000, 2)
    assert wide - few < 5_000 * 120


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_a_store_that_fails_hides_nothing(
    number: int, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listed as far as it went, what lies below would be missing without an error."""
    monkeypatch.setattr(limits, "READ_PAUSE_S", 0.0)
    root = plant(tmp_path / "root", {"A/1.png": "1", "B/2.png": "2"})
    failing = str(root / "B" if call == "scandir" else root / "B" / "2.png")
    real, tries = getattr(os, call), list[str]()

    def refusing(path: Any, **more: Any) -> Any:
        if str(path) == failing:
            tries.append(failing)
            raise OSError(number, os.strerror(number), failing)
        return real(path, **more)

    monkeypatch.setattr(os, call, refusing)
    with pytest.raises(SourceUnavailableError, match=f"{failing}: .*{os.strerror(number)}"):
        list(walk(root, ListingNotes()))
    assert len(tries) == limits.READ_TRIES
