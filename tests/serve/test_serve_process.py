"""The process: hostile clients, kills, signals, and what is in it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.__main__ import SMALL
from benchmarks.common import Options
from benchmarks.serve_process import Served, ask, form, served

from benchmarks import serve_fuzz, serve_kills
from pulmospark.core import serve_limits
from serve.serving import png

_SERVE = (sys.executable, "-m", "pulmospark", "serve")


@pytest.fixture(scope="module")
def process(served_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service in a process of its own."""
    folder = tmp_path_factory.mktemp("process")
    with served(served_bundle, folder / "state", folder / "log") as service:
        yield service


def _lines_until_closed(service: Served, content: bytes, seconds: float) -> bytes:
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.settimeout(seconds)
        answer = b""
        try:
            line.sendall(content)
            while block := line.recv(65_536):
                answer += block
        except ConnectionError:
            pass
        return answer


def test_hostile_clients_do_no_harm(tmp_path: Path) -> None:
    report = serve_fuzz.measure(_small(tmp_path))
    assert [note for note in report.notes if not note.endswith(": met")] == []
    assert sum(report.figures["statuses"].values()) == report.figures["uploads"]


def test_killed_services_lose_nothing(tmp_path: Path) -> None:
    report = serve_kills.measure(_small(tmp_path))
    assert (report.figures["not_once"], report.figures["different"]) == (0, 0)
    assert report.figures["answered"] > 0


def _small(folder: Path) -> Options:
    return replace(SMALL, out=folder)


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * (1 << 20),
        b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: x\r\n" * 100_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /api/v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["header", "address", "headers", "tls", "length", "two-lengths"],
)
def test_bad_heads_are_cut_off(process: Served, content: bytes) -> None:
    answer = _lines_until_closed(process, content, 5.0)
    assert b" 200 " not in answer.partition(b"\r\n")[0]
    assert ask(process.connection(), png(1))[0] == 200


def test_a_connection_is_used_again_whatever_came_before(process: Served) -> None:
    body, headers = form(png(1, side=700) + bytes(200_000))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    start = f"POST /api/v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}"
    with socket.create_connection(("127.0.0.1", process.port)) as line:
        for _ in range(3):
            line.sendall(f"{start}Content-Length: {len(body)}\r\n\r\n".encode())
            time.sleep(0.05)  # head and body in segments of their own
            line.sendall(body)
            answer = http.client.HTTPResponse(line)
            answer.begin()
            assert answer.status == 200
            answer.read()


def test_a_body_that_nobody_reads_ends_the_connection(process: Served) -> None:
    head = b"POST /no/such/path HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000000\r\n\r\n"
    begun = time.monotonic()
    answer = _lines_until_closed(process, head + bytes(1000), 5.0)
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - begun < 5.0


def test_a_body_that_says_that_it_is_too_large_is_not_read(process: Served) -> None:
    size = serve_limits.SERVE_BODY_BYTES_MAX + 1
    head = f"POST /api/v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"
    answer = _lines_until_closed(process, head.encode(), 5.0)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_only_one_service_writes_to_a_state_folder(process: Served, served_bundle: Path) -> None:
    state = Path(process.process.args[process.process.args.index("--state") + 1])  # type: ignore[index,union-attr,arg-type]
    second = subprocess.run(
        [*_SERVE, str(served_bundle), "--port", "0", "--state", str(state)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert second.returncode == 2
    assert "another service" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_line(
    process: Served, served_bundle: Path, tmp_path: Path
) -> None:
    second = subprocess.run(
        [*_SERVE, str(served_bundle), "--port", str(process.port), "--state", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert second.returncode == 2
    assert "choose another --port" in second.stderr


def test_sigterm_ends_it_in_good_order(served_bundle: Path, tmp_path: Path) -> None:
    service = Served(served_bundle, tmp_path / "state", tmp_path / "log")
    assert ask(service.connection(), png(1))[0] == 200
    os.kill(service.process.pid, signal.SIGTERM)
    assert service.process.wait(60) == 0


def test_a_bundle_s_own_engine_needs_no_torch(served_bundle: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from pulmospark.config.inference import Allowances
from pulmospark.serve import server
from pulmospark.serve.served_model import open_model
open_model(Path({str(served_bundle)!r}), Path({str(tmp_path)!r}), 1, Allowances())
print([name for name in ("torch", "pyspark", "pandas", "sklearn") if name in sys.modules])
"""
    run = [sys.executable, "-c", code]
    subprocess.run(run, check=True, capture_output=True, timeout=120)  # converted and cached
    again = subprocess.run(run, check=True, capture_output=True, text=True, timeout=120)
    assert again.stdout.strip() == "[]"
