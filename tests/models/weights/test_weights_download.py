"""Fetching: resumed, bounded, verified; against a server on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pulmospark.core import limits
from pulmospark.core.errors import EnvironmentProblem
from pulmospark.models.weights.download import fetch

CONTENT = bytes(range(256)) * 4000
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


class Hub:
    """A server of one file that can be told to misbehave."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True
        self.cut: int | None = None
        self.moved_to: str | None = None
        self.asked: list[str | None] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requested = self.headers.get("Range")
                hub.asked.append(requested)
                start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
                if hub.moved_to is not None:
                    self.send_response(302)
                    self.send_header("Location", hub.moved_to)
                    self.end_headers()
                elif self.path != f"/{NAME}":
                    self.send_error(404)
                elif requested and hub.ranges and start >= len(hub.content):
                    self.send_error(416)
                else:
                    start = start if hub.ranges else 0
                    body = hub.content[start:]
                    self.send_response(206 if requested and hub.ranges else 200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body[: hub.cut])

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{NAME}"


@pytest.fixture
def hub() -> Iterator[Hub]:
    served = Hub()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


def test_fetches_once(hub: Hub, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    path = fetch(hub.url, tmp_path / "new", on_progress=lambda *now: calls.append(now))
    assert path == tmp_path / "new" / NAME
    assert path.read_bytes() == CONTENT
    assert calls[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(hub.url, tmp_path / "new") == path
    assert hub.asked == [None]
    assert [file.name for file in path.parent.iterdir()] == [NAME]


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_after_a_break(hub: Hub, tmp_path: Path, ranges: bool) -> None:
    hub.ranges, hub.cut = ranges, 5000
    with pytest.raises(
        EnvironmentProblem, match=r"connection closed at 5000 of 1024000 .* to resume"
    ):
        fetch(hub.url, tmp_path)
    assert (tmp_path / f"{NAME}.part").stat().st_size == 5000
    hub.cut = None
    assert fetch(hub.url, tmp_path).read_bytes() == CONTENT
    assert hub.asked == [None, "bytes=5000-"]


def test_takes_a_part_that_is_already_whole(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    assert fetch(hub.url, tmp_path).read_bytes() == CONTENT


def test_throws_away_what_is_not_what_its_name_says(hub: Hub, tmp_path: Path) -> None:
    hub.content = b"x" + CONTENT[1:]
    with pytest.raises(EnvironmentProblem, match="deleted; rerun"):
        fetch(hub.url, tmp_path)
    assert list(tmp_path.iterdir()) == []
    hub.content = CONTENT
    assert fetch(hub.url, tmp_path).read_bytes() == CONTENT


def test_stops_at_the_limit(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WEIGHTS_FILE_BYTES_MAX", 10_000)
    with pytest.raises(EnvironmentProblem, match="over 10000 bytes"):
        fetch(hub.url, tmp_path)


def test_says_what_is_wrong_with_the_network(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"download failed .*Not Found"):
        fetch(hub.url.replace("/net-", "/other-"), tmp_path)
    hub.server.server_close()
    with pytest.raises(EnvironmentProblem, match="check the network and rerun"):
        fetch(f"http://127.0.0.1:1/{NAME}", tmp_path)


def test_is_not_led_to_another_kind_of_address(hub: Hub, tmp_path: Path) -> None:
    hub.moved_to = f"ftp://127.0.0.1:9/{NAME}"
    with pytest.raises(EnvironmentProblem, match="redirects to ftp://"):
        fetch(hub.url, tmp_path)
    assert len(hub.asked) == 1


@pytest.mark.parametrize("url", [f"file:///{NAME}", "https://host/net.pth"])
def test_refuses_other_addresses(url: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="hash in the name"):
        fetch(url, tmp_path)
