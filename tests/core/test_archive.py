"""Archives from outside: nothing is written outside the folder, and no bomb goes off."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulmospark.core import limits
from pulmospark.core.archive import unpack
from pulmospark.core.errors import InputError


def _archive(place: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(place / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    (place / "out").mkdir(exist_ok=True)
    return place / "a.zip"


def test_files_and_folders(tmp_path: Path) -> None:
    path = _archive(tmp_path, ("top/", b""), ("top/a/b.txt", b"b"), ("top/c.txt", b"cc"))
    held = unpack(path, tmp_path / "out", inside_one_folder=True)
    assert (held.files, held.size_bytes, held.links) == (2, 3, 0)
    assert (tmp_path / "out/a/b.txt").read_bytes() == b"b"
    assert (tmp_path / "out/c.txt").read_bytes() == b"cc"


@pytest.mark.parametrize(
    "name",
    ["../out.txt", "a/../../out.txt", "/etc/passwd", "..\\out.txt", "C:/out.txt", "a:b"],
)
def test_no_name_leads_outside(tmp_path: Path, name: str) -> None:
    path = _archive(tmp_path, (name, b"x"))
    with pytest.raises(InputError, match="which is not inside it"):
        unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.zip", "out"]


@settings(deadline=None)
@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_any_name_stays_inside_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    place = tmp_path_factory.mktemp("names")
    path = _archive(place, (name, b"x"))
    with contextlib.suppress(InputError):
        unpack(path, place / "out")
    outside = [each for each in place.rglob("*") if not each.is_relative_to(place / "out")]
    assert outside == [path]


def test_links_are_left_out(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = _archive(tmp_path, (link, b"/etc"), ("link2/passwd", b"x"))
    held = unpack(path, tmp_path / "out")
    assert (held.files, held.links) == (1, 1)
    assert not (tmp_path / "out/link").exists()


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = _archive(tmp_path, ("a", b"1"), ("a", b"2"))
    with pytest.raises(InputError, match="contains 'a' twice"):
        unpack(path, tmp_path / "out")


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _archive(tmp_path, ("zeros", bytes(limits.ARCHIVE_RATIO_BYTES + 1)))
    with pytest.raises(InputError, match="over a ratio of 200"):
        unpack(path, tmp_path / "out")
    monkeypatch.setattr(limits, "ARCHIVE_UNPACKED_BYTES_MAX", 5)
    path = _archive(tmp_path, ("a", b"123"), ("b", b"456"))
    with pytest.raises(InputError, match="unpacks to over 5 bytes"):
        unpack(path, tmp_path / "out")
    monkeypatch.setattr(limits, "ARCHIVE_FILES_MAX", 1)
    with pytest.raises(InputError, match="2 entries, over the limit of 1"):
        unpack(path, tmp_path / "out")


def test_a_size_that_lies_is_noticed(tmp_path: Path) -> None:
    path = _archive(tmp_path, ("a", b"x" * 5000))
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 24, 10)  # the size unpacked, in the directory
    path.write_bytes(data)
    with pytest.raises(InputError):
        unpack(path, tmp_path / "out")
    assert (tmp_path / "out/a").stat().st_size <= 10


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "a.zip"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="not a valid ZIP archive"):
        unpack(path, tmp_path / "out")
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(range(256)) * 40)
    damaged = bytearray(whole.getvalue())
    damaged[60] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="not a valid ZIP archive"):
        unpack(path, tmp_path / "out")
