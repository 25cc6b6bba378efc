"""A proxy on loopback that fails like a bad network and a busy store, for tests and benchmarks.

Stands before any HTTP server, such as ``benchmarks.s3_server`` or moto's:

    with failing_proxy("http://127.0.0.1:5000", Faults.of(0.05, seed=1)) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
        ...
        print(proxy.counts)

``python -m benchmarks.failing_proxy SERVER 0.05 [SEED [DELAY_MS]]`` prints its port, and fails 5 %
of the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

_BUSY = {
    "slow_down": ("503 Slow Down", "SlowDown"),
    "unavailable": ("503 Service Unavailable", "ServiceUnavailable"),
    "too_many": ("429 Too Many Requests", "TooManyRequests"),
    "internal": ("500 Internal Server Error", "InternalError"),
}
"""fault -> status and S3's code; the request does not reach the server"""


@dataclass(frozen=True)
class Faults:
    """Probability of each fault, 0 to 1; at most one happens to a request."""

    slow_down: float = 0.0
    unavailable: float = 0.0
    too_many: float = 0.0
    internal: float = 0.0
    reset: float = 0.0
    """the connection is reset before the request reaches the server"""
    lost: float = 0.0
    """the server does what was asked, and the connection is reset before its answer"""
    truncated: float = 0.0
    """the connection ends in the middle of the answer's body, as if that were all"""
    broken: float = 0.0
    """the connection is reset in the middle of the answer's body"""
    seed: int = 1
    delay_s: float = 0.0
    """before each request is looked at"""

    @classmethod
    def of(cls, share: float, *, seed: int = 1, delay_s: float = 0.0) -> Faults:
        """Every fault equally often, together on this share of the requests."""
        kinds = cls.kinds()
        return cls(**dict.fromkeys(kinds, share / len(kinds)), seed=seed, delay_s=delay_s)

    @classmethod
    def only(cls, kind: str, share: float) -> Faults:
        """One kind of fault, on this share of the requests."""
        shares: dict[str, Any] = {kind: share}
        return cls(**shares)

    @classmethod
    def kinds(cls) -> list[str]:
        """Names of the faults."""
        return [field.name for field in fields(cls) if field.name not in {"seed", "delay_s"}]


class Proxy:
    """What a proxy does, and has done.

    Attributes:
        faults: may be replaced while it runs.
        counts: how often each fault happened; ``requests``: all requests.
        endpoint: its address.
    """

    def __init__(self, server: str, faults: Faults) -> None:
        address = urlsplit(server)
        self._server = (address.hostname or "127.0.0.1", address.port or 80)
        self.faults = faults
        self.counts: Counter[str] = Counter()
        self.endpoint = ""
        self._random = random.Random(faults.seed)

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def _choose(self, has_body: bool) -> str | None:
        place = self._random.random()
        for kind in Faults.kinds():
            place -= getattr(self.faults, kind)
            if place < 0:
                # An answer without a body cannot end in its middle.
                return kind if has_body or kind not in {"truncated", "broken"} else "lost"
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await _head(reader):
                await self._request(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _request(
        self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if head.headers.pop("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await _body(reader, head)
        await asyncio.sleep(self.faults.delay_s)
        method = head.line.split(b" ", 1)[0]
        fault = self._choose(has_body=method == b"GET")
        self.counts["requests"] += 1
        if fault is not None:
            self.counts[fault] += 1
        if fault in _BUSY:
            status, code = _BUSY[fault]
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
            lines = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n"
            lines += f"Content-Length: {len(text)}\r\n\r\n"
            writer.write(lines.encode() + (b"" if method == b"HEAD" else text))
            await writer.drain()
            return
        if fault == "reset":
            _reset(writer)
        answer, content = await self._forward(head, body, has_body=method != b"HEAD")
        if fault == "lost":
            _reset(writer)
        if fault in {"truncated", "broken"} and content:
            writer.write(answer + content[: len(content) // 2])
            await writer.drain()
            if fault == "broken":
                _reset(writer)
            raise ConnectionAbortedError
        writer.write(answer + content)
        await writer.drain()

    async def _forward(self, head: _Head, body: bytes, *, has_body: bool) -> tuple[bytes, bytes]:
        """Head and body of the server's answer, as they are to be sent on."""
        reader, writer = await asyncio.open_connection(*self._server, limit=2**20)
        try:
            head.headers.pop("transfer-encoding", None)
            head.headers |= {"content-length": str(len(body)), "connection": "close"}
            writer.write(head.encoded() + body)
            await writer.drain()
            answer = await _head(reader)
            if answer is None:
                raise ConnectionAbortedError
            content = await _body(reader, answer, to_the_end=True) if has_body else b""
            answer.headers.pop("connection", None)
            if has_body:
                answer.headers.pop("transfer-encoding", None)
                answer.headers["content-length"] = str(len(content))
            # Of an older protocol, whose connections end after each answer.
            answer.line = answer.line.replace(b"HTTP/1.0", b"HTTP/1.1")
            return answer.encoded(), content
        finally:
            writer.close()


@dataclass
class _Head:
    """First line and headers of a request or an answer; names in lower case."""

    line: bytes
    headers: dict[str, str]

    def encoded(self) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return self.line + lines.encode("latin-1") + b"\r\n"


async def _head(reader: asyncio.StreamReader) -> _Head | None:
    line = await reader.readline()
    headers = {}
    while (header := await reader.readline()) not in {b"\r\n", b""}:
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return _Head(line, headers) if line else None


async def _body(reader: asyncio.StreamReader, head: _Head, *, to_the_end: bool = False) -> bytes:
    if "chunked" in head.headers.get("transfer-encoding", ""):
        pieces = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            pieces.append(await reader.readexactly(size))
            await reader.readline()
        await reader.readline()
        return b"".join(pieces)
    if (length := head.headers.get("content-length")) is not None:
        return await reader.readexactly(int(length))
    return await reader.read() if to_the_end else b""


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a RST, as a host does that has lost its state.

    Raises:
        ConnectionAbortedError: always; there is nothing more to do for this connection.
    """
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise ConnectionAbortedError


@contextlib.contextmanager
def in_thread(start: Callable[[], Coroutine[Any, Any, asyncio.Server]]) -> Iterator[None]:
    """A server that runs in a thread until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="server", daemon=True)
    thread.start()

    async def stop(listening: asyncio.Server) -> None:
        listening.close()
        here = asyncio.current_task()
        connections = [task for task in asyncio.all_tasks() if task is not here]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    listening = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(stop(listening), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def failing_proxy(server: str, faults: Faults) -> Iterator[Proxy]:
    """A proxy that runs in a thread until the end of the block."""
    proxy = Proxy(server, faults)
    with in_thread(proxy.start):
        yield proxy


async def main(server: str, share: float, seed: int = 1, delay_ms: float = 0.0) -> None:
    """Serve until the process is ended."""
    proxy = Proxy(server, Faults.of(share, seed=seed, delay_s=delay_ms / 1000))
    listening = await proxy.start()
    print(proxy.endpoint.rpartition(":")[2], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), *map(int, sys.argv[3:5])))
