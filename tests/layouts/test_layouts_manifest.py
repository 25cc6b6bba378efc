from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from layouts.listing import plant
from pulmospark.config.source import SourceSettings
from pulmospark.core import limits
from pulmospark.core.errors import InputError, LayoutError, UsageError
from pulmospark.core.schemas import MANIFEST
from pulmospark.layouts.base import ManifestRow, row_of
from pulmospark.layouts.manifest import SourceListing, write_manifest
from pulmospark.layouts.manifest_rows import file_groups, table_of
from pulmospark.layouts.names import FoundFile
from pulmospark.layouts.registry import LAYOUTS, find, recognise

_TREE = {"A/1.png": "1", "B/2.png": "22"}


def _source(path: Path, name: str | None = None, layout: str | None = None) -> SourceSettings:
    return SourceSettings(path=path, name=name, layout=layout)


def test_row_has_the_fields_of_the_manifest() -> None:
    assert [field.name for field in fields(ManifestRow)] == MANIFEST.names


def test_a_manifest_has_a_row_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LIST_GROUP_ROWS", 256)
    files = {f"{'AB'[i % 2]}/{i:04d}.png": "x" for i in range(600)}
    root = plant(tmp_path / "root", files)
    target = tmp_path / "new/folder/manifest.parquet"
    (listing,) = write_manifest([_source(root)], target)
    parquet = pq.ParquetFile(target)
    groups = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    assert groups == [256, 256, 88]
    assert parquet.schema_arrow.equals(MANIFEST)
    table = parquet.read()
    assert listing.files == table.num_rows == 600
    assert table["uri"].to_pylist() == sorted(str(root / name) for name in files)
    again = tmp_path / "again.parquet"
    write_manifest([_source(root)], again)
    assert pq.read_table(again).equals(table)
    assert SourceListing.model_validate_json(listing.model_dump_json()) == listing
    assert [path.name for path in target.parent.iterdir()] == ["manifest.parquet"]


def test_several_sources_have_names_of_their_own(tmp_path: Path) -> None:
    one, two = plant(tmp_path / "x/same", _TREE), plant(tmp_path / "y/same", _TREE)
    three = plant(tmp_path / "z/third", _TREE)
    target = tmp_path / "m.parquet"
    listings = write_manifest([_source(one), _source(two), _source(three, "Same")], target)
    assert [listing.name for listing in listings] == ["same-2", "same-3", "Same"]
    sources = pq.read_table(target)["source"].to_pylist()
    assert sources == ["same-2"] * 2 + ["same-3"] * 2 + ["Same"] * 2
    with pytest.raises(UsageError, match="given twice"):
        write_manifest([_source(one, "a"), _source(two, "A")], target)
    for wrong in ("a:b", " "):
        with pytest.raises(UsageError, match="not be empty or contain a colon"):
            write_manifest([_source(one, wrong)], target)


def test_same_folder_twice_or_one_in_another(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", {**_TREE, "A/sub/C/1.png": "", "A/sub/D/1.png": ""})
    (tmp_path / "link").symlink_to(root)
    for other in (root, tmp_path / "link", root / "A/sub", root / "A/.."):
        with pytest.raises(UsageError, match="given twice, or lies inside"):
            write_manifest([_source(root), _source(other)], tmp_path / "m.parquet")


def test_two_sheets_of_one_folder(tmp_path: Path) -> None:
    sheets = {
        "train.csv": "path,label\na.png,A\n",
        "test.csv": "path,label\nb.png,A\n",
    }
    root = plant(tmp_path / "root", {**sheets, "a.png": "", "b.png": ""})
    options = {"files_without_row": "count"}
    both = [root / "train.csv", root / "test.csv"]
    with pytest.raises(UsageError, match="files_without_row = 'count'"):
        write_manifest([_source(path) for path in both], tmp_path / "m.parquet")
    listings = write_manifest(
        [SourceSettings(path=path, options=options) for path in both], tmp_path / "m.parquet"
    )
    assert [(found.name, found.files) for found in listings] == [("train", 1), ("test", 1)]
    with pytest.raises(UsageError, match="given twice"):
        write_manifest([SourceSettings(path=both[0], options=options)] * 2, tmp_path / "m.parquet")


def test_nothing_to_list(tmp_path: Path) -> None:
    target = tmp_path / "m.parquet"
    with pytest.raises(InputError, match="no such folder"):
        write_manifest([_source(tmp_path / "none")], target)
    empty = plant(tmp_path / "empty", {"readme.txt": ""})
    with pytest.raises(LayoutError, match=r"no known layout matches.*--layout.*TOML"):
        write_manifest([_source(empty)], target)
    with pytest.raises(InputError, match="no image file"):
        write_manifest([_source(empty, layout="class_folders")], target)
    with pytest.raises(LayoutError, match="takes a folder"):
        write_manifest([_source(empty / "readme.txt", layout="nih14")], target)
    with pytest.raises(LayoutError, match="not a CSV or TSV"):
        write_manifest([_source(empty / "readme.txt")], target)
    assert not target.exists()


def test_failure_leaves_what_stood_there(tmp_path: Path) -> None:
    root = plant(tmp_path / "root", _TREE)
    target = tmp_path / "out/m.parquet"
    write_manifest([_source(root)], target)
    before = target.read_bytes()
    plant(tmp_path, {"bad/x.csv": b'path,label\n"' + b"x" * 200_000 + b'",1\n', "bad/a.png": ""})
    with pytest.raises(InputError, match=r"x\.csv"):
        write_manifest([_source(root), _source(tmp_path / "bad")], target)
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["m.parquet"]


def test_find() -> None:
    assert find("NIH14").name == "nih14"
    assert find(" class-folders ").name == "class_folders"
    with pytest.raises(
        UsageError, match=r"covid_chestxray, hannover, .*, kermany, .*, csv, dicom, class_folders"
    ):
        find("luna16")


def test_every_layout_says_what_it_is() -> None:
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
    for layout in LAYOUTS:
        for said in (layout.title, layout.home, layout.licence, layout.holds, layout.looked_for):
            assert said.strip()


def test_wrapped_folder_is_seen_through(tmp_path: Path) -> None:
    nih = {
        "Data_Entry_2017.csv": "Image Index,Finding Labels,Patient ID,View Position\n",
        "images/a.png": "",
    }
    plant(tmp_path / "archive/CXR8", nih)
    plant(tmp_path / "archive/__MACOSX/CXR8", nih)
    assert recognise(tmp_path / "archive") == (find("nih14"), tmp_path / "archive/CXR8")
    plant(tmp_path / "archive/More", nih)
    with pytest.raises(LayoutError, match="contains several data sets, CXR8"):
        recognise(tmp_path / "archive")
    plant(tmp_path / "zip/unpacked", _TREE)
    assert recognise(tmp_path / "zip").folder == tmp_path / "zip/unpacked"


def test_tie_goes_to_the_more_specific(tmp_path: Path) -> None:
    """Kermany's names in a tree of classes; without them it is no more than that."""
    plant(tmp_path / "k", {"train/NORMAL/IM-0001-0001.jpeg": "", "train/PNEUMONIA/x.jpeg": ""})
    assert recognise(tmp_path / "k").layout.name == "kermany"
    plant(tmp_path / "c", {"train/NORMAL/a.jpeg": "", "train/PNEUMONIA/b.jpeg": ""})
    assert recognise(tmp_path / "c").layout.name == "class_folders"
    plant(tmp_path / "m", {"images/a.png": "", "masks/a.png": ""})
    with pytest.raises(LayoutError, match="no known layout matches"):
        recognise(tmp_path / "m")


def test_rows_of_plain_files_are_those_of_a_layout_that_knows_nothing() -> None:
    files = [
        (FoundFile(f"/a/{n}.png", (f"{n}.png",), n, 2 * n, "vanished" if n % 7 else None), "s")
        for n in range(50)
    ]
    (table,) = file_groups(files)
    assert table.schema == MANIFEST
    assert table.to_pylist() == table_of([row_of(*file) for file in files]).to_pylist()
    assert list(file_groups([])) == []
