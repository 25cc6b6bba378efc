"""Hostile clients: malformed uploads, zip bombs, slow clients and bodies that never end."""

from __future__ import annotations

import contextlib
import http.client
import io
import random
import socket
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import Options, Report, data_folder, goal, scratch
from benchmarks.serve_process import Served, ask, form, radiographs, served
from benchmarks.stream_process import untrained_bundle

_SEED = 20208
_MEMORY_MAX = 1024 * 1024 * 1024
"""bytes; a decoder alone may take ``limits.DECODED_BYTES_MAX``"""
_SERVED_S_MAX = 10.0
_SENDERS = 3


def measure(options: Options) -> Report:
    """All of them at once, while one client has its images scored."""
    uploads, slow, endless = (60, 1, 1) if options.small else (5000, 100, 5)
    with scratch(options) as work:
        bundle = untrained_bundle(work / "bundle", "squeezenet1_1")
        made_of = [*radiographs(4, 256), *_real(options.data or data_folder(options))]
        with served(bundle, work / "state", work / "log") as service:
            figures = _attacked(service, made_of, uploads, slow, endless)
            figures["alive"] = service.process.poll() is None
    figures["uploads"] = uploads
    goals = [
        goal("no crash", figures["alive"] and not figures["statuses"].get("500")),
        goal("memory below 1 GiB", figures["memory_bytes"] < _MEMORY_MAX),
        goal("the other client is served", figures["refused"] == 0 and figures["scored"] > 0),
        goal("slow and endless clients are let go", figures["held"] == 0),
    ]
    rows = [
        ("malformed uploads", f"{uploads:,}"),
        ("their answers", ", ".join(f"{k}: {n:,}" for k, n in figures["statuses"].items())),
        ("slow clients, endless bodies", f"{slow}, {endless}"),
        ("images of the other client", f"{figures['scored']:,}"),
        ("its longest wait", f"{figures['longest_s']:.1f} s"),
        ("highest memory", f"{figures['memory_bytes'] / 2**20:.0f} MiB"),
    ]
    return Report("serve_fuzz", "hostile clients", ("what", "figure"), rows, goals, figures)


def _real(data: Path | None) -> list[bytes]:
    """A DICOM file and a PNG, where there are some."""
    if data is None:
        return []
    found = [*sorted((data / "dicom-cxr").glob("*.dcm"))[:6]]
    return [path.read_bytes() for path in found if path.stat().st_size < 1_000_000]


def _attacked(
    service: Served, made_of: list[bytes], uploads: int, slow: int, endless: int
) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    done = threading.Event()
    waits: list[float] = []
    refused: list[int] = []
    held: list[str] = []
    highest = [0]

    def watch() -> None:
        while not done.wait(0.05):
            highest[0] = max(highest[0], service.memory_bytes())

    def good() -> None:
        while not done.is_set():
            begun = time.monotonic()
            connection = service.connection()
            status, _ = ask(connection, made_of[0])
            connection.close()
            waits.append(time.monotonic() - begun)
            if status != 200 or waits[-1] > _SERVED_S_MAX:
                refused.append(status)
            done.wait(0.05)

    def send(share: range) -> None:
        for number in share:
            chance = random.Random(_SEED + number)
            statuses[_malformed(service, made_of, chance)] += 1

    def hold(attack: Callable[[Served], bool]) -> None:
        if not attack(service):
            held.append(attack.__name__)

    helpers = _threads((watch,), (good,))
    attackers = _threads(
        *((send, range(number, uploads, _SENDERS)) for number in range(_SENDERS)),
        *((hold, (_slow_head, _slow_body)[number % 2]) for number in range(slow)),
        *((hold, _endless) for _ in range(endless)),
    )
    for thread in (*helpers, *attackers):
        thread.start()
    for thread in attackers:
        thread.join()
    done.set()
    for thread in helpers:
        thread.join()
    return {
        "statuses": dict(sorted(statuses.items())),
        "scored": len(waits),
        "refused": len(refused),
        "longest_s": max(waits),
        "held": len(held),
        "memory_bytes": highest[0],
    }


def _threads(*calls: tuple[Any, ...]) -> list[threading.Thread]:
    return [threading.Thread(target=call, args=arguments) for call, *arguments in calls]


def _malformed(service: Served, made_of: list[bytes], chance: random.Random) -> str:
    """One malformed upload; the status of its answer, or ``closed``."""
    kind = chance.randrange(6)
    headers: dict[str, str]
    if kind < 3:
        body, headers = form(_damaged(chance.choice(made_of), chance))
    elif kind == 3:
        body, headers = form(_bomb(chance))
    elif kind == 4:
        body, headers = form(chance.choice(made_of)[:2000])
        body = _damaged(body, chance)
    else:
        body, headers = form(chance.randbytes(chance.randrange(500)))
        headers = {"Content-Type": f"multipart/form-data; boundary={chance.choice(_EDGES)}"}
    connection = service.connection()
    try:
        connection.request("POST", "/api/v1/predict?store=false", body, headers)
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, http.client.HTTPException):
        return "closed"
    finally:
        connection.close()


_EDGES = ("edge", "", "e" * 300, "--", "edge; charset=utf-16", '"', "\x7f")


def _damaged(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.randrange(1, 30)):
        how, place = chance.randrange(3), chance.randrange(len(data))
        if how == 0:
            data[place] = chance.randrange(256)
        elif how == 1:
            del data[place : place + chance.randrange(1, 200)]
        else:
            data[place:place] = chance.randbytes(chance.randrange(1, 50))
        if not data:
            return b""
    return bytes(data)


def _bomb(chance: random.Random) -> bytes:
    """A small archive of much: zeros, many entries, or another archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        kind = chance.randrange(3)
        if kind == 0:
            archive.writestr("zeros.png", bytes(chance.randrange(20, 60) << 20))
        elif kind == 1:
            for number in range(chance.randrange(2001, 4000)):
                archive.writestr(f"{number}", b"")
        else:
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as nested:
                nested.writestr("zeros", bytes(8 << 20))
            for number in range(20):
                archive.writestr(f"{number}.zip", inner.getvalue())
    return content.getvalue()


def _slow_head(service: Served) -> bool:
    """A byte of a head every half second; whether the service lets go of it."""
    return _dripped(service, b"POST /api/v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", 0.5)


def _slow_body(service: Served) -> bool:
    """A byte of a body every two seconds."""
    head = (
        b"POST /api/v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n"
        b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    )
    return _dripped(service, head, 2.0)


def _dripped(service: Served, head: bytes, pause_s: float) -> bool:
    with socket.create_connection(("127.0.0.1", service.port)) as line:
        line.sendall(head)
        line.settimeout(pause_s)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                line.sendall(b"x")
                if not line.recv(4096):
                    return True
            except TimeoutError:
                continue
            except OSError:
                return True
    return False


def _endless(service: Served) -> bool:
    """Chunks as fast as they are taken, without an end."""
    head = (
        b"POST /api/v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n"
    )
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", service.port)) as line,
    ):
        line.settimeout(60)
        line.sendall(head)
        for _ in range(20_000):
            line.sendall(chunk)
        return False
    return True
