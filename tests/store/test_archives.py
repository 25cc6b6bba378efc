"""Files in archives, read by offset, beside zipfile and tarfile."""

from __future__ import annotations

import io
import os
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulmospark.core import archive_limits, limits
from pulmospark.core.errors import InputError, SourceUnavailableError
from pulmospark.core.schemas import RejectReason
from pulmospark.store import archives
from pulmospark.store.archives import (
    EntryError,
    begin_of_entry,
    directory_of,
    entries_of,
    is_archive,
    outermost,
    parts_of_address,
    read_entry,
)
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

NAME = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/."), min_size=1, max_size=12
)
PATHS = st.dictionaries(
    st.lists(NAME, min_size=1, max_size=3).map("/".join),
    st.tuples(
        st.binary(max_size=300), st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    ),
    max_size=8,
)


def _zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def _reason(archive: str, name: str) -> tuple[str, str]:
    with pytest.raises(EntryError) as raised:
        read_entry(archive, name)
    return raised.value.reason, raised.value.detail


@settings(max_examples=60, deadline=None)
@given(
    files=PATHS,
    before=st.binary(max_size=20),
    # In a comment with the mark of a directory's end zipfile looks for the directory.
    comment=st.binary(max_size=40).filter(lambda comment: b"PK\5\6" not in comment),
)
def test_a_zip_holds_what_zipfile_reads(
    files: dict[str, tuple[bytes, int]],
    before: bytes,
    comment: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.ZIP"
    with path.open("wb") as file:
        file.write(before)  # as of an archive that unpacks itself
        with zipfile.ZipFile(file, "w") as archive:
            archive.comment = comment
            for name, (content, method) in files.items():
                archive.writestr(name, content, method)
    with zipfile.ZipFile(path) as archive:
        expected = {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    assert [entry.name for entry in entries_of(str(path))] == list(expected)
    for name, content in expected.items():
        if not archives.leads_out(name):
            assert read_entry(str(path), name) == content
            assert begin_of_entry(str(path), name, 7) == content[:7]


@settings(max_examples=40, deadline=None)
@given(
    files=PATHS,
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_a_tar_holds_what_tarfile_reads(
    files: dict[str, tuple[bytes, int]], form: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    with tarfile.open(path, "w", format=form) as archive:
        for name, (content, _) in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with tarfile.open(path, "r:") as archive:
        expected = {
            member.name: (archive.extractfile(member) or io.BytesIO()).read()
            for member in archive.getmembers()
        }
    assert {entry.name for entry in entries_of(str(path))} == set(expected)
    for name, content in expected.items():
        if not archives.leads_out(name):
            assert read_entry(str(path), name) == content


def test_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    files = {f"{number}.png": os.urandom(120 + number) for number in range(9)}
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(content)
    assert b"PK\6\6" in path.read_bytes()
    assert {e.name: read_entry(str(path), e.name) for e in entries_of(str(path))} == files


def test_the_last_of_a_repeated_name_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"old")
        archive.writestr("b.png", b"b")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", b"new")
    assert [entry.name for entry in entries_of(str(path))] == ["b.png", "a.png"]
    assert read_entry(str(path), "a.png") == b"new"
    assert directory_of(str(path)).repeated == 1


def test_a_name_is_never_a_path(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    names = ["../secret.png", f"{tmp_path}/secret.png", "a/../../secret.png", "..\\secret.png"]
    path = _zip(tmp_path / "a.zip", dict.fromkeys(names, b"inside"))
    for name in names:
        assert _reason(path, name)[0] == RejectReason.BAD_NAME
    assert _reason(path, "secret.png")[0] == RejectReason.VANISHED


def test_what_cannot_be_read_is_the_entrys_own_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _zip(tmp_path / "bzip2.zip", {"a.png": b"x" * 100}, zipfile.ZIP_BZIP2)
    assert "compression method 12" in _reason(path, "a.png")[1]

    path = _zip(tmp_path / "password.zip", {"a.png": b"x" * 100})
    data = bytearray(Path(path).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    Path(path).write_bytes(data)
    assert "password" in _reason(path, "a.png")[1]

    path = _zip(tmp_path / "link.zip", {})
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "not a regular file" in _reason(path, "a.png")[1]

    monkeypatch.setattr(limits, "ARCHIVE_RATIO_BYTES", 10_000)
    path = _zip(tmp_path / "bomb.zip", {"a.png": bytes(10_000_000)})
    assert _reason(path, "a.png")[0] == RejectReason.TOO_MANY_BYTES
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 1_000)
    path = _zip(tmp_path / "large.zip", {"a.png": os.urandom(1_001)})
    assert _reason(path, "a.png")[0] == RejectReason.TOO_MANY_BYTES


def test_a_size_that_is_not_true_is_noticed(tmp_path: Path) -> None:
    path = Path(_zip(tmp_path / "a.zip", {"a.png": bytes(1_000_000)}))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\1\2")
    struct.pack_into("<L", data, at + 24, 500)
    path.write_bytes(data)
    assert "size or checksum" in _reason(str(path), "a.png")[1]
    struct.pack_into("<L", data, at + 24, 1_000_000)
    struct.pack_into("<L", data, at + 16, zlib.crc32(b"other"))
    path.write_bytes(data)
    assert "size or checksum" in _reason(str(path), "a.png")[1]


def test_an_image_does_not_pass_for_another(tmp_path: Path) -> None:
    path = Path(_zip(tmp_path / "a.zip", {"a.png": b"a", "b.png": b"b"}))
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    path.write_bytes(data[:at] + data[at:].replace(b"a.png", b"c.png"))
    assert "two names" in _reason(str(path), "c.png")[1]


def test_overlapping_files_are_refused(tmp_path: Path) -> None:
    path = Path(_zip(tmp_path / "a.zip", {"a.png": os.urandom(1000)}))
    data = path.read_bytes()
    at, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    many = data[at:end] * 50
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 50, 50, len(many), at, 0)
    path.write_bytes(data[:at] + many + tail)
    with pytest.raises(InputError, match="overlap"):
        list(entries_of(str(path)))


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path / "a.zip", {f"{number}": b"" for number in range(20)})
    monkeypatch.setattr(limits, "ARCHIVE_FILES_MAX", 10)
    with pytest.raises(InputError, match="over the limit of 10"):
        list(entries_of(path))
    monkeypatch.setattr(limits, "ARCHIVE_FILES_MAX", 100)
    monkeypatch.setattr(archive_limits, "ARCHIVE_DIRECTORY_BYTES_MAX", 100)
    with pytest.raises(InputError, match="over the limit"):
        list(entries_of(path))


@pytest.mark.parametrize("end", ["zip", "tar"])
def test_any_damage_is_an_error_of_ours(end: str, tmp_path: Path) -> None:
    files = {f"f/{number}.png": os.urandom(50) * 20 for number in range(5)}
    path = tmp_path / f"a.{end}"
    if end == "zip":
        _zip(path, files)
    else:
        with tarfile.open(path, "w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    whole = path.read_bytes()
    chance = random.Random(1)
    for number in range(300):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: chance.randrange(len(data))]
        else:
            tail = len(data) - (400 if end == "zip" and number % 3 == 1 else len(data))
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(tail, len(data))] = chance.choice([0, 1, 255, 80])
        path.write_bytes(data)
        os.utime(path, ns=(number, number))
        try:
            for entry in entries_of(str(path)):
                try:
                    read = read_entry(str(path), entry.name)
                except EntryError:
                    continue
                assert end == "tar" or read in files.values()
        except InputError:
            continue


def test_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\3\4 no zip")
    with pytest.raises(InputError, match="not a zip archive"):
        list(entries_of(str(path)))
    assert _reason(str(path), "a.png")[0] == RejectReason.UNREADABLE
    path = tmp_path / "a.tar"
    path.write_bytes(os.urandom(2_000))
    with pytest.raises(InputError, match="not a tar archive"):
        list(entries_of(str(path)))
    for name in ("a.tar.gz", "A.TGZ"):
        with pytest.raises(InputError, match="repack it"):
            is_archive(name)


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 2**32
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + bytes(10_000))
    with pytest.raises(InputError, match="not a tar archive"):
        list(entries_of(str(path)))


def test_in_a_store(bucket: StoreUri, tmp_path: Path) -> None:
    path = tmp_path / "a b.zip"
    files = {f"ü/{number}.png": os.urandom(90_000) for number in range(3)}
    _zip(path, files)
    store = open_store(bucket)
    store.put("in/a b.zip", path.read_bytes())
    archive = f"{bucket}in/a b.zip"
    assert {e.name: read_entry(archive, e.name) for e in entries_of(archive)} == files
    _zip(path, {name: content[::-1] for name, content in files.items()})
    store.put("in/a b.zip", path.read_bytes())
    with pytest.raises(SourceUnavailableError, match="was changed"):
        read_entry(archive, "ü/0.png")
    assert read_entry(archive, "ü/0.png") == files["ü/0.png"][::-1]
    store.put("in/a.tar", b"")
    with pytest.raises(InputError, match=r"repack it as \.zip"):
        list(entries_of(f"{bucket}in/a.tar"))
    assert _reason(f"{bucket}in/gone.zip", "a")[0] == RejectReason.VANISHED


@given(archive=st.sampled_from(["/d/a.zip", "s3://b/k.tar", "/d!/x.ZIP"]), name=NAME)
def test_an_address_is_taken_apart(archive: str, name: str) -> None:
    assert parts_of_address(f"{archive}!/{name}") == (archive, name)
    assert outermost(f"{archive}!/{name}") == archive
    assert outermost(archive) == archive
    assert parts_of_address(f"{archive}!") == (archive, "")
