"""What paths stand for, and that each file is seen once however often it is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.core import schemas
from pulmospark.core.errors import InputError, UsageError
from pulmospark.inference.batch.inputs import NO_LAYOUT, resolve_inputs
from pulmospark.inference.batch.list_inputs import list_inputs
from pulmospark.inference.batch.path_patterns import expanded
from pulmospark.layouts.base import ListingNotes, NoteKind


def _listed(
    tmp_path: Path, *paths: str | Path, layout: str | None = None
) -> tuple[list[str], ListingNotes]:
    notes = ListingNotes()
    target = tmp_path / "manifest.parquet"
    seen = list_inputs(resolve_inputs([str(path) for path in paths], layout), target, notes)
    rows = pq.read_table(target)
    assert rows.schema.equals(schemas.MANIFEST)
    assert rows.num_rows == seen
    return rows["uri"].to_pylist(), notes


def _all(images: Path) -> list[str]:
    return [str(images / name) for name in ("a.png", "b.png", "d.png", "deep/c.png")]


def test_a_folder_stands_for_its_image_files_and_those_below(images: Path, tmp_path: Path) -> None:
    uris, notes = _listed(tmp_path, images)
    assert uris == _all(images)
    assert notes.count(NoteKind.IGNORED_FILES) == 1


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ["a.png", "b.png", "d.png"]),
        ("**/*.png", ["a.png", "b.png", "d.png", "deep/c.png"]),
        ("[ab].png", ["a.png", "b.png"]),
        ("de*", ["deep/c.png"]),
    ],
)
def test_a_pattern_stands_for_what_it_matches(
    images: Path, tmp_path: Path, pattern: str, names: list[str]
) -> None:
    uris, _ = _listed(tmp_path, images / pattern)
    assert uris == [str(images / name) for name in names]


def test_any_folders_enters_no_link_that_is_not_named(tmp_path: Path) -> None:
    """Links that lead back would have each image many times, and may never end."""
    images = tmp_path / "images"
    (images / "deep" / ".hidden").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("images/a.png", "images/deep/b.png", "images/deep/.hidden/c.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "elsewhere" / "d.png").write_bytes(b"x")
    (images / "deep" / "back").symlink_to(images)
    (images / "deep" / "away").symlink_to(tmp_path / "elsewhere")
    (images / "itself.png").symlink_to(images / "itself.png")
    want = [str(images / name) for name in ("a.png", "deep/b.png", "itself.png")]
    for pattern in ("**/*.png", "**/**/*.png", "**/*"):
        assert sorted(_listed(tmp_path, images / pattern)[0]) == want, pattern
    notes = ListingNotes()
    assert images / "deep" in expanded([str(images / "**")], notes)
    assert notes.count(NoteKind.SYMLINKS_LEFT_OUT) == 2
    named = _listed(tmp_path, images / "deep/away/**/*.png")[0]
    assert named == [str(images / "deep/away/d.png")]
    assert _listed(tmp_path, images / "*/away/*.png")[0] == named
    assert _listed(tmp_path, f"{images}/d*/aw*/")[0] == named  # without any folders, as ever


def test_a_pattern_s_folder_that_may_not_be_listed_is_noted(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refusing(folder: str) -> Any:
        if str(folder) == str(images / "deep"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    uris, notes = _listed(tmp_path, images / "**/[ac].png")
    assert uris == [str(images / "a.png")]
    assert notes.count(NoteKind.UNREADABLE_FOLDERS) == 1


def test_a_name_with_a_pattern_s_signs_is_a_name_where_it_is_there(tmp_path: Path) -> None:
    odd = tmp_path / "image[1].png"
    odd.write_bytes(b"x")
    (tmp_path / "image1.png").write_bytes(b"x")
    assert _listed(tmp_path, odd)[0] == [str(odd)]


@pytest.mark.parametrize(
    "extra",
    [
        ["."],
        ["a.png"],
        ["deep"],
        ["deep/c.png", "*.png"],
        ["deep/../a.png"],
        ["**/*"],
    ],
)
def test_each_file_is_seen_once(images: Path, tmp_path: Path, extra: list[str]) -> None:
    # notes.txt, which "**/*" names, is a file like any other: seen, and rejected later.
    more = [str(images / "notes.txt")] if extra == ["**/*"] else []
    uris, _ = _listed(tmp_path, images, *(images / name for name in extra))
    assert sorted(uris) == sorted([*_all(images), *more])
    uris, _ = _listed(tmp_path, *(images / name for name in extra), images)
    assert sorted(uris) == sorted([*_all(images), *more])


def test_what_a_folder_s_listing_passes_by_is_seen_where_it_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / ".hidden").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("images/a.png", "images/.hidden/b.png", "elsewhere/c.png", "images/raw"):
        (tmp_path / name).write_bytes(b"x")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    named = [folder / ".hidden" / "b.png", folder / "link" / "c.png", folder / "raw"]
    uris, _ = _listed(tmp_path, folder, *named)
    assert sorted(uris) == sorted([str(folder / "a.png"), *map(str, named)])


def test_a_sheet_gives_its_paths_relative_to_itself(images: Path, tmp_path: Path) -> None:
    sheet = images.parent / "list.csv"
    lines = ["Image Path;who", "images/a.png;1", f"{images}/b.png;2", "images/gone.png;3", ";4",
             "images/a.png;5"]  # fmt: skip
    sheet.write_text("\n".join(lines), encoding="utf-8")
    uris, notes = _listed(tmp_path, sheet)
    assert uris == [str(images / name) for name in ("a.png", "b.png", "gone.png")]
    problems = pq.read_table(tmp_path / "manifest.parquet")["problem"].to_pylist()
    assert problems == [None, None, "vanished"]
    assert notes.count(NoteKind.ROWS_WITHOUT_PATH) == 1
    assert notes.count(NoteKind.REPEATED_ROWS) == 1


def test_a_parquet_file_gives_its_paths_as_spark_writes_them(images: Path, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.mkdir()
    paths = [f"file:{images}/a.png", f"file://{images}/b.png", str(images / "d.png")]
    pq.write_table(pa.table({"n": [1, 2, 3], "path": paths}), table / "part-0.parquet")
    want = [str(images / name) for name in ("a.png", "b.png", "d.png")]
    assert _listed(tmp_path, table)[0] == want
    assert _listed(tmp_path, table / "part-0.parquet")[0] == want


def test_a_list_gives_uris_of_both_spellings(tmp_path: Path) -> None:
    names = ("a b/x#1.png", "a b/100%.png", "50%25/y.png", "é/z.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    want = [str(tmp_path / name) for name in names]
    # Python's own URIs, what Spark's input_file_name gives, and Hadoop's Path.toString.
    for spell in (Path.as_uri, lambda p: p.as_uri().replace("///", "/"), lambda p: f"file:{p}"):
        sheet = tmp_path / "list.csv"
        rows = [f'"{spell(tmp_path / name)}"' for name in names]
        sheet.write_text("\n".join(["path", *rows]), encoding="utf-8")
        assert _listed(tmp_path, sheet)[0] == want
    assert _listed(tmp_path, *map(Path.as_uri, map(Path, want)))[0] == want
    assert _listed(tmp_path, f"file://{tmp_path}/a%20b/*.png")[0] == sorted(want[:2])


@pytest.mark.parametrize("cell", ["hdfs://bucket/x.png", "file://elsewhere/x.png"])
def test_an_address_in_a_list_is_refused(cell: str, tmp_path: Path) -> None:
    sheet = tmp_path / "list.csv"
    sheet.write_text(f"path\n{cell}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"list.csv: {cell}"):
        _listed(tmp_path, sheet)
    with pytest.raises(UsageError, match=cell):
        _listed(tmp_path, cell)


def test_a_pipe_and_a_dangling_link_are_seen_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    uris, _ = _listed(tmp_path, tmp_path / "pipe.png", tmp_path / "link.png")
    assert len(uris) == 2
    assert None not in pq.read_table(tmp_path / "manifest.parquet")["problem"].to_pylist()


def test_with_a_layout_the_sheets_and_masks_of_a_data_set_are_understood(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "COVID-19_Radiography_Dataset"
    plain, _ = _listed(tmp_path, folder, layout=NO_LAYOUT)
    known, _ = _listed(tmp_path, folder, layout="radiography_database")
    assert (len(known), len(plain)) == (1000, 2000)
    assert _listed(tmp_path, folder)[0] == known, "the layout is recognised"
    assert not any("/masks/" in uri for uri in known)
    assert set(pq.read_table(tmp_path / "manifest.parquet")["mask_uri"].to_pylist()) != {None}


def test_a_data_set_given_with_other_images_is_not_read_as_a_folder_of_images(
    shared_data: Path, images: Path
) -> None:
    known = str(shared_data / "COVID-19_Radiography_Dataset")
    for other in (images, images / "a.png", shared_data / "chest_xray"):
        with pytest.raises(UsageError, match="give it alone, or use --layout none"):
            resolve_inputs([known, str(other)])
    assert resolve_inputs([known, str(images)], NO_LAYOUT).layout is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.png", "no such file or folder"),
        ("none/*.png", "matches no file"),
        ("empty", "no image file was found"),
        ("plain.csv", "none of its columns a, b holds paths"),
        ("broken.parquet", "cannot be read as Parquet"),
        ("half.parquet", "column 'image_id' is missing"),
    ],
)
def test_unusable_paths_are_refused(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1, or so it says")
    pq.write_table(pa.table({"pixels": [b""]}), tmp_path / "half.parquet")
    with pytest.raises(InputError, match=message):
        _listed(tmp_path, tmp_path / path)


def test_a_layout_of_a_single_file_is_refused(images: Path) -> None:
    with pytest.raises(UsageError, match="--layout applies to folders"):
        resolve_inputs([str(images / "a.png")], "class_folders")
    with pytest.raises(UsageError, match="no image is named"):
        resolve_inputs([])


def test_files_without_an_extension_are_recognised_by_their_content(
    shared_cases: Path, tmp_path: Path
) -> None:
    """Named as storescp, scanners and discs name them."""
    inbox = shared_cases / "f04-stream-and-predict-no-extension/inbox"
    uris, notes = _listed(tmp_path, inbox)
    assert sorted(Path(uri).name for uri in uris) == [
        "CR.1.3.51.0.7.99.20260101.1",
        "DX.1.2.826.0.1.3680043.8.498.33453453453",
        "IM000001",
    ]
    assert notes.count(NoteKind.IGNORED_FILES) == 0
    # Named next to its folder, each is seen once.
    assert len(_listed(tmp_path, inbox, *uris)[0]) == 3


def test_files_without_image_content_are_ignored_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, head in (
        ("scan", b"\xff\xd8\xff\xe0"),
        ("1.2.840.1", b"\0" * 128 + b"DICM"),
        ("old.img", b"\x89PNG\r\n\x1a\n"),
        ("README", b"no image"),
        ("empty.12", b""),
        ("notes.txt", b"\xff\xd8\xff\xe0"),
        ("half.png.part", b"\x89PNG\r\n\x1a\n"),
    ):
        (folder / name).write_bytes(head)
    uris, notes = _listed(tmp_path, folder)
    assert [Path(uri).name for uri in uris] == ["1.2.840.1", "old.img", "scan"]
    assert notes.ignored_extensions == {"(none)": 2, ".txt": 1, ".part": 1}
    for name in ("scan", "1.2.840.1", "old.img"):
        (folder / name).unlink()
    with pytest.raises(
        InputError,
        match=r"\(ignored: 2 without an extension or image content, 1 \.part, 1 \.txt\)",
    ):
        _listed(tmp_path, folder)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("images\\a.png", "images/a.png"),
        ("./images\\deep/c.png", "images/deep/c.png"),
        ("a", "images/a.png"),
        ("c.png", "images/deep/c.png"),
        ("/home/me/images/deep/c.png", "images/deep/c.png"),
        ("C:\\me\\images\\a.png", "images/a.png"),
        ("Images/A.PNG", "images/a.png"),
        ("'images/a.png'", "images/a.png"),
        ("x/a.png", "x/a.png"),  # another folder's: it is not there
        ("nowhere", "nowhere"),
    ],
)
def test_a_list_s_paths_are_read_as_ingest_reads_them(
    images: Path, tmp_path: Path, cell: str, name: str
) -> None:
    sheet = images.parent / "list.csv"
    sheet.write_text(f"sep=;\nimage_id;n\nimages/b.png;1\n{cell};2\n", encoding="utf-8")
    uris, notes = _listed(tmp_path, sheet)
    assert uris == [str(images / "b.png"), str(images.parent / name)]
    assert notes.columns == {"path": ("image_id", True)}


def test_a_list_s_file_uris_are_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name in ("a b/x#1.png", "100%25.png", "d%20e/f.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    cells = [
        f"file://{folder}/a%20b/x%231.png",
        f"file:{folder}/100%2525.png",
        f"file:{folder}/d%20e/f.png",
    ]
    sheet = folder / "list.csv"
    sheet.write_text("\n".join(["uri", *cells]), encoding="utf-8")
    uris, _ = _listed(tmp_path, sheet)
    assert uris == [str(folder / name) for name in ("a b/x#1.png", "100%25.png", "d%20e/f.png")]
    sheet.write_text("uri\nhdfs://bucket/a.png\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"list\.csv: hdfs://bucket/a\.png: .* not supported"):
        _listed(tmp_path, sheet)
