"""A file's own faults are rejects; the machine's are raised, with its name and the path."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pulmospark.core import limits
from pulmospark.core.errors import SourceUnavailableError
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging import read_file
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.read_file import read_bytes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``images/a.png`` and ``images/b.png``; no pauses between tries."""
    monkeypatch.setattr(limits, "READ_PAUSE_S", 0.0)
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / "images" / f"{name}.png").write_bytes(name.encode())
    return tmp_path / "images"


def _failing(number: int, times: int, count: list[str]) -> Callable[..., int]:
    real = os.open

    def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).endswith("a.png") and len(count) < times:
            count.append(str(path))
            raise OSError(number, os.strerror(number), str(path))
        return real(path, flags, *rest, **more)

    return opened


MACHINE = [
    *("EIO", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EMFILE", "ENFILE", "ENOMEM", "EHOSTDOWN"),
    *("EREMOTEIO", "ENODEV", "ENOLINK", "ECONNRESET", "EAGAIN", "EINTR", "EBUSY", "EINVAL"),
]


@pytest.mark.parametrize("name", MACHINE)
def test_the_machine_s_errors_are_raised_after_a_few_tries(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, count = getattr(errno, name), list[str]()
    monkeypatch.setattr(os, "open", _failing(number, 99, count))
    with pytest.raises(SourceUnavailableError) as caught:
        read_bytes(str(folder / "a.png"))
    assert len(count) == limits.READ_TRIES
    assert platform.node() in caught.value.message
    assert f"{folder}/a.png: {os.strerror(number)}" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
    assert read_bytes(str(folder / "b.png")) == b"b"


def test_an_error_that_passes_costs_no_image(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "open", _failing(errno.ESTALE, limits.READ_TRIES - 1, []))
    assert read_bytes(str(folder / "a.png")) == b"a"


def test_a_failure_in_the_middle_of_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fdopen

    def opened(*arguments: Any) -> Any:
        file = real(*arguments)

        class Broken:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def read(self, _count: int) -> bytes:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        return Broken()

    monkeypatch.setattr(os, "fdopen", opened)
    with pytest.raises(SourceUnavailableError, match="Input/output error"):
        read_bytes(str(folder / "a.png"))


def test_too_little_memory_is_the_machine_s(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: str) -> bytes:
        raise MemoryError

    monkeypatch.setattr(read_file, "_read", full)
    with pytest.raises(SourceUnavailableError, match="MemoryError"):
        read_bytes(str(folder / "a.png"))


def test_gone_from_a_folder_that_is_there(folder: Path) -> None:
    reject = read_bytes(str(folder / "gone.png"))
    assert isinstance(reject, Rejected)
    assert reject.reason is RejectReason.VANISHED
    below = read_bytes(str(folder / "a.png" / "x.png"))
    assert isinstance(below, Rejected)
    assert below.reason is RejectReason.VANISHED


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("lost/a.png", "its folder is not there"),  # a mount point that went with its mount
        ("empty/a.png", "its folder is empty"),  # one that stayed
        ("empty/covid/a.png", "its folder is not there"),
        ("link.png", "cannot read"),  # into a folder that is not there
    ],
)
def test_gone_with_its_folder(path: str, words: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "link.png").symlink_to(folder / "lost" / "a.png")
    with pytest.raises(SourceUnavailableError, match=words):
        read_bytes(str(folder / path))


def test_an_inbox_may_lose_files_and_folders_but_not_itself(folder: Path) -> None:
    inbox = folder / "inbox"
    inbox.mkdir()
    for path in (inbox / "a.png", inbox / "patient" / "a.png"):
        reject = read_bytes(str(path), str(inbox))
        assert isinstance(reject, Rejected)
        assert reject.reason is RejectReason.VANISHED
    inbox.rmdir()
    with pytest.raises(SourceUnavailableError):
        read_bytes(str(inbox / "a.png"), str(inbox))


def test_closed_files_are_rejects_and_closed_folders_are_not(folder: Path) -> None:
    """As a user whom the system may refuse something: root it never does."""
    folder.parent.chmod(0o755)
    for parent in folder.parents:
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    (folder / "a.png").chmod(0)
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)
    try:
        reject = read_bytes(str(folder / "a.png"))
        assert isinstance(reject, Rejected)
        assert (reject.reason, reject.detail) == (RejectReason.UNREADABLE, "Permission denied")
        if uid == 0:
            os.seteuid(0)
        folder.chmod(0)
        if uid == 0:
            os.seteuid(65534)
        with pytest.raises(SourceUnavailableError, match=r"b\.png: Permission denied"):
            read_bytes(str(folder / "b.png"))
    finally:
        os.seteuid(uid)
        folder.chmod(0o755)


def test_what_only_the_file_can_cause_is_a_reject(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "dangling.png").symlink_to(folder / "nothing.png")
    names = ("pipe.png", "loop.png", "dangling.png", "x" * 300, "nul\0.png", ".")
    for name in names:
        reject = read_bytes(str(folder / name))
        assert isinstance(reject, Rejected), name
        assert reject.reason is RejectReason.UNREADABLE


def test_an_error_without_a_number_has_words_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems' drivers raise such; an empty file is none of the machine's faults."""
    (folder / "empty.png").write_bytes(b"")

    def fails(*_: object) -> int:
        raise OSError("no number")

    monkeypatch.setattr(os, "open", fails)
    reject = read_bytes(str(folder / "empty.png"))
    assert isinstance(reject, Rejected)
    assert reject.detail == "Input/output error"
