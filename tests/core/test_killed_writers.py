"""Folders of killed writers, locks, readers while a folder is replaced."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pulmospark.core import atomic_folders, files
from pulmospark.core.atomic_folders import exchange, sweep, sweep_inside
from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.core.files import link_or_copy, whole_folder
from pulmospark.core.locks import hold_lock

_WRITER = """
import os, sys, time
from pathlib import Path
from pulmospark.core.files import whole_folder
with whole_folder(Path(sys.argv[1])) as aside:
    (aside / "x").write_text("new")
    print("writing", flush=True)
    time.sleep(60)
"""
_HOLDER = """
import sys, time
from pathlib import Path
from pulmospark.core.locks import hold_lock
with hold_lock(Path(sys.argv[1]) / ".lock", Path(sys.argv[1]), writer="run"):
    print("holding", flush=True)
    time.sleep(60)
"""
_READER = """
import sys, time
from pathlib import Path
target = Path(sys.argv[1])
reads = 0
print("reading", flush=True)
while not (target.parent / "stop").exists():
    assert target.is_dir(), "there is none"
    reads += 1
print(reads)
"""


def _started(program: str, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def _hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(".*"))


def test_what_a_killed_writer_left_is_removed_and_another_s_is_not(tmp_path: Path) -> None:
    target = tmp_path / "a[b]"
    target.mkdir()
    (target / "x").write_text("old")
    killed, alive = _started(_WRITER, target), _started(_WRITER, target)
    killed.kill()
    killed.communicate()
    assert len(_hidden(tmp_path)) == 2
    with whole_folder(target) as aside:
        (aside / "x").write_text("newer")
        assert len(_hidden(tmp_path)) == 2  # this one and the one that is alive
    assert len(_hidden(tmp_path)) == 1
    assert (target / "x").read_text() == "newer"
    alive.send_signal(signal.SIGKILL)
    alive.communicate()
    sweep(target)
    assert _hidden(tmp_path) == []


def test_names_are_exchanged_at_once(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "other").exists()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "none")


def test_a_reader_sees_a_folder_at_all_times(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    reader = _started(_READER, target)
    for number in range(300):
        with whole_folder(target) as aside:
            (aside / "x").write_text(str(number))
    (tmp_path / "stop").touch()
    out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert int(out) > 300
    assert (target / "x").read_text() == "299"


@pytest.mark.parametrize("renames", [1, 2])
def test_without_exchange_a_kill_between_renames_is_made_good(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_folders, "exchange", lambda *_: False)
    target = tmp_path / "target"
    target.mkdir()
    (target / "x").write_text("old")
    done: list[Path] = []

    class Killed(BaseException):
        pass

    rename = Path.rename

    def rename_and_die(self: Path, to: Path) -> Path:
        if len(done) == renames - 1 and self.suffix != ".old":
            raise Killed
        done.append(to)
        return rename(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_and_die)
        patch.setattr(atomic_folders.shutil, "rmtree", lambda *_, **__: None)  # type: ignore[attr-defined]
        with pytest.raises(Killed), whole_folder(target) as aside:
            (aside / "x").write_text("new")
    assert (target / "x").read_text() == "old"
    # As a kill would leave it, with nobody to put it back.
    target.rename(tmp_path / f".target.{'0' * 32}.old")
    sweep(target)
    assert (target / "x").read_text() == "old"
    assert _hidden(tmp_path) == []


def test_a_lock_names_its_owner_and_ends_with_it(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    holder = _started(_HOLDER, tmp_path)
    message = f"another run is writing there .process {holder.pid} on {socket.gethostname()}.: "
    with pytest.raises(UsageError, match=message), hold_lock(lock, tmp_path, writer="run"):
        pass
    holder.kill()
    holder.communicate()
    stage = hold_lock(lock, tmp_path, writer="run", again=True)
    with hold_lock(lock, tmp_path, writer="run"), stage:
        assert lock.read_text().split()[0] == str(os.getpid())


def test_the_owner_of_a_folder_sweeps_what_is_in_it(tmp_path: Path) -> None:
    hexed = "0123456789abcdef" * 2
    for name in (f".a.json.{hexed}.part", ".kept", f".b.{hexed[1:]}.part"):
        (tmp_path / name).touch()
    (tmp_path / f".training.{hexed}.part").mkdir()
    (tmp_path / f".training.{hexed}.part" / "x").touch()
    sweep_inside(tmp_path)
    assert _hidden(tmp_path) == [f".b.{hexed[1:]}.part", ".kept"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK])
def test_where_no_link_can_be_made_a_file_is_copied(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / "a").write_text("x")
    link_or_copy(tmp_path / "a", tmp_path / "linked")
    assert (tmp_path / "linked").stat().st_ino == (tmp_path / "a").stat().st_ino
    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "x"
    code = errno.ENOSPC
    with pytest.raises(OSError, match="No space"):
        link_or_copy(tmp_path / "a", tmp_path / "c")


def test_a_mapped_file_has_its_space_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    assert path.stat().st_blocks == 0
    files.allocate(path)
    assert path.stat().st_blocks * 512 >= 1 << 20

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(PlatformError, match="the disk is full"):
        files.allocate(path)
