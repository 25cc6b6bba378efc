"""Fetching: resumed, bounded, verified; against a server on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pulmospark.core import limits
from pulmospark.core.errors import PlatformError
from pulmospark.models.weights.download import fetch
from servers import Server, serving

CONTENT = bytes(range(256)) * 4000
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


@pytest.fixture
def hub() -> Iterator[Server]:
    with serving(CONTENT, f"/{NAME}") as server:
        server.etag = None
        yield server


def test_fetches_once(hub: Server, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = fetch(hub.url, tmp_path / "new", on_progress=lambda *now: calls.append(now))
    assert path == tmp_path / "new" / NAME
    assert path.read_bytes() == CONTENT
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(hub.url, tmp_path / "new") == path
    assert hub.asked == [None]
    assert [file.name for file in path.parent.iterdir()] == [NAME]


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_after_a_break(hub: Server, tmp_path: Path, ranges: bool) -> None:
    hub.ranges, hub.cut = ranges, 5000
    with pytest.raises(
        PlatformError, match=r"connection closed after 5000 of 1024000 .* to resume"
    ):
        fetch(hub.url, tmp_path)
    assert (tmp_path / f"{NAME}.part").stat().st_size == 5000
    hub.cut = None
    assert fetch(hub.url, tmp_path).read_bytes() == CONTENT
    assert hub.asked == [None, "bytes=5000-"]


def test_takes_a_part_that_is_already_whole(hub: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert fetch(hub.url, tmp_path).read_bytes() == CONTENT


def test_throws_away_what_is_not_what_its_name_says(hub: Server, tmp_path: Path) -> None:
    hub.content = b"x" + CONTENT[1:]
    with pytest.raises(PlatformError, match="was discarded: run again"):
        fetch(hub.url, tmp_path)
    assert list(tmp_path.iterdir()) == []
    hub.content = CONTENT
    assert fetch(hub.url, tmp_path).read_bytes() == CONTENT


def test_stops_at_the_limit(hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WEIGHTS_FILE_BYTES_MAX", 10_000)
    with pytest.raises(PlatformError, match="over the limit of 10000: this is not"):
        fetch(hub.url, tmp_path)


def test_says_what_is_wrong_with_the_network(hub: Server, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"cannot be downloaded .*Not Found"):
        fetch(hub.url.replace("/net-", "/other-"), tmp_path)
    hub.http.server_close()
    with pytest.raises(PlatformError, match="check the network and run again"):
        fetch(f"http://127.0.0.1:1/{NAME}", tmp_path)


def test_is_not_led_to_another_kind_of_address(hub: Server, tmp_path: Path) -> None:
    hub.moved_to = "ftp://127.0.0.1:9/other"
    with pytest.raises(PlatformError, match="redirects to ftp://"):
        fetch(hub.url, tmp_path)
    assert len(hub.asked) == 1


@pytest.mark.parametrize("url", [f"file:///{NAME}", "https://host/net.pth"])
def test_refuses_other_addresses(url: str, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="hash in the name"):
        fetch(url, tmp_path)


def test_several_that_need_a_file_wait_for_the_one_that_fetches_it(
    hub: Server, tmp_path: Path
) -> None:
    for attempt in range(8):
        with ThreadPoolExecutor(3) as pool:
            paths = list(pool.map(lambda folder: fetch(hub.url, folder), [tmp_path / "w"] * 3))
        assert {path.read_bytes() for path in paths} == {CONTENT}
        assert [file.name for file in (tmp_path / "w").iterdir()] == [NAME]
        assert len(hub.asked) == attempt + 1
        paths[0].unlink()
