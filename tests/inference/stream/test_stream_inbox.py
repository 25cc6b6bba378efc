"""What an inbox takes, and when."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pulmospark.config.stream import StreamSettings
from pulmospark.core import limits
from pulmospark.core.arrays import Ints
from pulmospark.core.errors import InputError
from pulmospark.inference.stream.inbox import Inbox
from pulmospark.inference.stream.ledger import Arrival

_OLD = 1_500_000_000
_NONE: Ints = np.empty(0, np.int64)


def _land(path: Path, text: str = "image", *, at: float = _OLD) -> Path:
    """A file that was written aside and renamed, long ago by its time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(text, encoding="utf-8")
    os.utime(aside, (at, at))
    return aside.rename(path)


def _taken(inbox: Inbox, room: int = 100) -> list[str]:
    """Names that it gives; twice looked, for a folder found in one look is listed in the next."""
    inbox.look()
    inbox.look()
    arrivals = inbox.take(room)
    for arrival in arrivals:
        inbox.settled(arrival)
    return sorted(Path(arrival.uri).name for arrival in arrivals)


class _Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self._now_ns = time.time_ns()

    def monotonic(self) -> float:
        return self._now_ns / 1e9

    def time_ns(self) -> int:
        return self._now_ns

    def on(self, seconds: float) -> None:
        self._now_ns += int(seconds * 1e9)

    def stamp(self, path: Path) -> None:
        """Give a file this clock's time."""
        os.utime(path, ns=(self._now_ns, self._now_ns))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """The inbox's clock: however busy the machine is, no time goes by of itself."""
    clock = _Clock()
    monkeypatch.setattr("pulmospark.inference.stream.inbox.time", clock)
    return clock


def _inbox(folder: Path, taken: Ints = _NONE, **settings: float) -> Inbox:
    return Inbox(folder, StreamSettings.model_validate(settings), taken)


def test_each_file_is_taken_once_and_only_images_are(tmp_path: Path) -> None:
    for name in ("a.png", "_b.JPG", "deep/er/c.tiff"):
        _land(tmp_path / name)
    for name in (
        "note.txt",
        ".hidden.png",
        "d.png.part",
        "e.tmp",
        ".aside/f.png",
        "__MACOSX/g.png",
    ):
        _land(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    inbox = _inbox(tmp_path)
    inbox.look()
    assert _taken(inbox) == ["_b.JPG", "a.png", "c.tiff"]
    assert inbox.drained
    assert _taken(inbox) == []
    _land(tmp_path / "deep" / "er" / "h.png")
    assert _taken(inbox) == ["h.png"]


_IMAGE = {
    "DX.1.2.826.0.1.33453453453": b"\0" * 128 + b"DICM",
    "IM000001": b"\xff\xd8\xff\xe0",
    "deep/scan.img": b"\x89PNG\r\n\x1a\n",
}


def _land_all(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = _land(folder / name)
        path.write_bytes(content)
        os.utime(path, (_OLD, _OLD))


def test_files_without_an_extension_are_taken_by_their_content(tmp_path: Path) -> None:
    _land_all(tmp_path, {**_IMAGE, "README": b"no image", "empty": b""})
    inbox = _inbox(tmp_path)
    assert _taken(inbox) == sorted(Path(name).name for name in _IMAGE)
    lines = sorted(inbox.left_out())
    assert [Path(line.partition(":")[0]).name for line in lines] == ["README", "empty"]
    assert all("ignored, it has no known extension" in line for line in lines)
    assert inbox.drained
    assert (_taken(inbox), inbox.left_out()) == ([], [])
    # What was no image is looked at again when it has changed.
    _land_all(tmp_path, {"empty": _IMAGE["IM000001"] + b"whole"})
    assert _taken(inbox) == ["empty"]


def test_the_shared_inbox_is_taken_by_content(shared_cases: Path) -> None:
    inbox = _inbox(shared_cases / "f04-stream-and-predict-no-extension/inbox", settle_s=0.0)
    assert len(_taken(inbox)) == 3
    assert inbox.left_out() == []


def test_ignored_files_are_reported_with_the_reason(tmp_path: Path) -> None:
    _land_all(tmp_path, {f"{n}.txt": b"" for n in range(20)} | {"d.png.part": b"\x89PNG"})
    _land_all(tmp_path, {f"note{n:02}": b"" for n in range(20)})
    inbox = _inbox(tmp_path)
    assert _taken(inbox) == []
    lines = inbox.left_out()
    by_name = [line for line in lines if "image extension" in line]
    assert len(by_name) == 2
    assert (
        sum(".txt is not an image extension; further such files" in line for line in by_name) == 1
    )
    assert sum(".part is not an image extension" in line for line in by_name) == 1
    assert len(lines) - len(by_name) == limits.NOTE_EXAMPLES_MAX
    assert "further such files are ignored silently" in lines[-1]
    (tmp_path / "d.png.part").rename(tmp_path / "d.png")
    assert _taken(inbox) == ["d.png"]


def test_room_bounds_what_is_taken_and_the_rest_waits(tmp_path: Path) -> None:
    for number in range(5):
        _land(tmp_path / f"{number}.png")
    inbox = _inbox(tmp_path)
    first = _taken(inbox, room=3)
    assert (len(first), inbox.waiting, inbox.drained) == (3, 2, False)
    assert sorted(first + _taken(inbox, room=3)) == [f"{number}.png" for number in range(5)]


def test_a_file_that_grows_is_left_until_it_has_settled(tmp_path: Path, clock: _Clock) -> None:
    image = tmp_path / "a.png"
    inbox = _inbox(tmp_path, settle_s=0.3)
    image.write_text("half", encoding="utf-8")
    clock.stamp(image)
    assert _taken(inbox) == []
    clock.on(0.25)
    with image.open("a", encoding="utf-8") as file:
        file.write(" and more")
    clock.stamp(image)
    assert _taken(inbox) == []
    assert inbox.waiting == 1
    clock.on(0.25)
    assert _taken(inbox) == []
    clock.on(0.1)
    inbox.look()
    (arrival,) = inbox.take(1)
    assert arrival.size_bytes == len("half and more")


def test_a_file_from_the_future_settles_too(tmp_path: Path, clock: _Clock) -> None:
    _land(tmp_path / "a.png", at=time.time() + 10_000)
    inbox = _inbox(tmp_path, settle_s=0.1)
    assert _taken(inbox) == []
    clock.on(0.15)
    assert _taken(inbox) == ["a.png"]


def test_another_file_under_the_same_name_is_taken_at_once(tmp_path: Path) -> None:
    _land(tmp_path / "a.png")
    inbox = _inbox(tmp_path, rescan_s=10_000.0)
    assert _taken(inbox) == ["a.png"]
    _land(tmp_path / "a.png", "another image", at=_OLD + 60)
    assert _taken(inbox) == ["a.png"]


def test_a_file_overwritten_in_place_is_found_by_the_sweep(tmp_path: Path) -> None:
    image = _land(tmp_path / "a.png")
    for number in range(40):
        _land(tmp_path / f"{number}.png")
    inbox = _inbox(tmp_path, rescan_s=0.1)
    assert len(_taken(inbox)) == 41
    image.write_text("another image", encoding="utf-8")
    os.utime(image, (_OLD + 60, _OLD + 60))
    os.utime(tmp_path, (_OLD, _OLD))  # the folder's own time says nothing
    end = time.monotonic() + 10
    names: list[str] = []
    while not names and time.monotonic() < end:
        time.sleep(0.05)
        names = _taken(inbox)
    assert names == ["a.png"]


def test_a_file_given_back_is_taken_again(tmp_path: Path, clock: _Clock) -> None:
    _land(tmp_path / "a.png")
    inbox = _inbox(tmp_path)
    inbox.look()
    (arrival,) = inbox.take(1)
    assert not inbox.drained  # it has no row yet
    inbox.give_back(arrival)
    assert inbox.take(1) == []  # not in the same breath
    clock.on(0.25)
    assert inbox.take(1) == [arrival]


@pytest.mark.parametrize("ahead_s", [-3600, 0, 3600])
def test_how_long_a_file_is_unchanged_depends_on_no_other_clock(
    tmp_path: Path, clock: _Clock, ahead_s: int
) -> None:
    """The file's times are those of a server, whose clock may be wrong."""
    inbox = _inbox(tmp_path, settle_s=0.0)
    inbox.look()
    _land(tmp_path / "a.png")
    inbox.look()
    (arrival,) = inbox.take(1)
    stamped = arrival._replace(landed_ns=clock.time_ns() + ahead_s * 10**9)
    assert inbox.unchanged_s(stamped) == 0
    clock.on(5.0)
    assert inbox.unchanged_s(stamped) == pytest.approx(5.0)
    inbox.give_back(arrival)
    (tmp_path / "a.png").write_text("more of it", encoding="utf-8")
    assert inbox.take(1) == []  # not in the same breath
    clock.on(5.0)
    (arrival,) = inbox.take(1)
    assert inbox.unchanged_s(arrival) == 0  # it has changed


def test_a_file_that_existed_before_counts_from_its_own_time(
    tmp_path: Path, clock: _Clock
) -> None:
    _land(tmp_path / "a.png")
    inbox = _inbox(tmp_path)
    inbox.look()
    (arrival,) = inbox.take(1)
    old = arrival._replace(landed_ns=clock.time_ns() - 60 * 10**9)
    ahead = arrival._replace(landed_ns=clock.time_ns() + 60 * 10**9)
    unknown = old._replace(uri="/taken/by/an/earlier/process.png")
    assert [inbox.unchanged_s(arrival) for arrival in (old, ahead, unknown)] == [60, 0, 60]
    clock.on(5.0)
    assert inbox.unchanged_s(ahead) == pytest.approx(5.0)


def test_what_was_taken_in_an_earlier_life_is_not_taken_again(tmp_path: Path) -> None:
    image = _land(tmp_path / "a.png")
    facts = image.stat()
    key = Arrival(str(image), facts.st_size, facts.st_mtime_ns, 0).key
    inbox = _inbox(tmp_path, np.asarray([key], np.int64))
    assert _taken(inbox) == []
    os.utime(image, (_OLD + 1, _OLD + 1))
    assert _taken(_inbox(tmp_path, np.asarray([key], np.int64))) == ["a.png"]


def test_a_name_that_is_no_text_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):  # noqa: PTH123 - bytes
        pass
    inbox = _inbox(tmp_path, settle_s=0.0)
    inbox.look()
    (arrival,) = inbox.take(1)
    assert arrival.problem == "bad_name"
    assert arrival.uri.endswith("\\xff.png")


def test_landing_is_the_renaming_and_not_the_writing(tmp_path: Path) -> None:
    before = time.time_ns()
    _land(tmp_path / "a.png", at=_OLD)
    inbox = _inbox(tmp_path)
    inbox.look()
    (arrival,) = inbox.take(1)
    assert arrival.modified_ns == _OLD * 10**9
    # Kernels stamp with a clock that ticks every few milliseconds.
    assert before - 20_000_000 <= arrival.landed_ns <= time.time_ns()


def test_an_inbox_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be listed: No such file"):
        _inbox(tmp_path / "none").look()


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Folders that may not be listed; ``chmod 000`` stops no root."""
    closed: set[str] = set()
    scandir = os.scandir

    def refusing(folder: str) -> Any:
        if folder in closed:
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    return closed


def test_an_inbox_that_may_not_be_listed_is_one_line(tmp_path: Path, closed: set[str]) -> None:
    closed.add(str(tmp_path))
    with pytest.raises(
        InputError, match="cannot be listed: Permission denied: name a readable folder"
    ):
        _inbox(tmp_path).look()


def test_a_folder_that_may_not_be_listed_is_reported_once_and_taken_later(
    tmp_path: Path, closed: set[str]
) -> None:
    _land(tmp_path / "a.png")
    _land(tmp_path / "ward" / "b.png")
    os.utime(tmp_path / "ward", (_OLD, _OLD))
    closed.add(str(tmp_path / "ward"))
    inbox = _inbox(tmp_path, rescan_s=10_000.0)
    assert _taken(inbox) == ["a.png"]
    (line,) = inbox.left_out()
    assert line.startswith(f"{tmp_path / 'ward'}: cannot be listed: Permission denied")
    assert inbox.drained  # with --once it is not waited for
    assert _taken(inbox) == []
    assert inbox.left_out() == []
    closed.clear()
    assert _taken(inbox) == ["b.png"]
    closed.add(str(tmp_path / "ward"))
    os.utime(tmp_path / "ward", (_OLD + 1, _OLD + 1))
    inbox.look()
    assert len(inbox.left_out()) == 1


def test_a_folder_that_lies_too_deep_is_reported_once(tmp_path: Path) -> None:
    for name in "ab":
        deep = tmp_path / name
        for _ in range(limits.FOLDER_DEPTH_MAX):
            deep /= "d"
        deep.mkdir(parents=True)
    inbox = _inbox(tmp_path)
    for _ in range(limits.FOLDER_DEPTH_MAX + 1):
        inbox.look()
    (line,) = inbox.left_out()
    assert "levels deep, so not watched" in line
    assert inbox.left_out() == []
