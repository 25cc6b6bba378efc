"""A light S3 server on loopback: ``python -m benchmarks.s3_server DELAY_MS``; prints its port.

Objects lie in memory; each answer's first byte waits as long as a far store's. It heeds
If-None-Match and If-Match, lists by prefix, and checks no signature. Much lighter than the servers
that the tests use, which would take the cores from what is measured.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

_PAGE = 1_000


class Server:
    """Buckets of objects."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.modified = datetime(2026, 1, 1, tzinfo=UTC)
        self.endpoint = ""
        self._keys: list[str] | None = None
        """sorted; ``None``: a key has come or gone since"""

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The requests of one connection."""
        try:
            while line := await reader.readline():
                method, target, _ = line.decode().split(" ", 2)
                headers = {}
                while (header := await reader.readline()) not in {b"\r\n", b""}:
                    name, _, value = header.decode().partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                status, more, answer = self.answer(method, target, headers, body)
                lines = [f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in more.items())]
                if "Content-Length" not in more:
                    lines.append(f"Content-Length: {len(answer)}")
                writer.write("\r\n".join([*lines, "", ""]).encode())
                if method != "HEAD":
                    writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def answer(  # noqa: PLR0911 - one return an answer
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[str, dict[str, str], bytes]:
        """Status, headers and body of one request's answer."""
        parts = urlsplit(target)
        key = unquote(parts.path).lstrip("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        if method == "GET" and "list-type" in query:
            return "200 OK", {"Content-Type": "application/xml"}, self._list(key, query)
        if method == "POST":
            names = [
                each.text or "" for each in ElementTree.fromstring(body).iterfind(".//{*}Key")
            ]
            for name in names:
                self.delete(f"{key.rstrip('/')}/{name}")
            gone = "".join(f"<Deleted><Key>{escape(name)}</Key></Deleted>" for name in names)
            return "200 OK", {}, f"<DeleteResult>{gone}</DeleteResult>".encode()
        if method == "DELETE":
            self.delete(key)
            return "204 No Content", {}, b""
        stored = self.objects.get(key)
        if method == "PUT":
            if "if-none-match" in headers and stored is not None:
                return "412 Precondition Failed", {}, b"<Error/>"
            if "if-match" in headers and (stored is None or headers["if-match"] != stored[1]):
                return "412 Precondition Failed", {}, b"<Error/>"
            if (source := headers.get("x-amz-copy-source")) is not None:
                body = self.objects[unquote(source).lstrip("/")][0]
            etag = self.put(key, body)
            answer = f"<CopyObjectResult><ETag>{escape(etag)}</ETag></CopyObjectResult>"
            return "200 OK", {"ETag": etag}, answer.encode() if source else b""
        if stored is None:
            return "404 Not Found", {}, b"<Error><Code>NoSuchKey</Code></Error>"
        data, etag = stored
        facts = {"ETag": etag, "Last-Modified": self.modified.strftime("%a, %d %b %Y %X GMT")}
        if method == "HEAD":
            return "200 OK", {**facts, "Content-Length": str(len(data))}, b""
        if (span := headers.get("range")) is None:
            return "200 OK", facts, data
        first, _, last = span.removeprefix("bytes=").partition("-")
        start = int(first) if first else len(data) - int(last)
        end = int(last) + 1 if first and last else len(data)
        facts["Content-Range"] = f"bytes {start}-{min(end, len(data)) - 1}/{len(data)}"
        return "206 Partial Content", facts, data[start:end]

    def put(self, key: str, body: bytes) -> str:
        """Take an object, ``bucket/key``; its etag."""
        if key not in self.objects:
            self._keys = None
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        self.objects[key] = (body, etag)
        return etag

    def delete(self, key: str) -> None:
        """Forget an object; one that is not there is no error."""
        if self.objects.pop(key, None) is not None:
            self._keys = None

    def _list(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        prefix = f"{bucket.rstrip('/')}/{query.get('prefix', [''])[0]}"
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        if self._keys is None:
            self._keys = sorted(self.objects)
        cut = len(bucket.rstrip("/")) + 1
        low = max(prefix, f"{prefix[:cut]}{after}\0" if after else "")
        begin = bisect.bisect_left(self._keys, low)
        most = int(query.get("max-keys", [str(_PAGE)])[0])
        page = []
        for key in self._keys[begin : begin + most + 1]:
            if not key.startswith(prefix):
                break
            page.append(key[cut:])
        more = len(page) > most
        page = page[:most]
        rows = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(self.objects[bucket + '/' + name][0])}"
            f"</Size><LastModified>{self.modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>{escape(self.objects[bucket + '/' + name][1])}</ETag></Contents>"
            for name in page
        )
        token = (
            f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        )
        return (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}"
            "</ListBucketResult>"
        ).encode()


class GeneratedListing(Server):
    """A bucket that only lists: so many keys, 1,000 to a folder, made up as they are asked for."""

    def __init__(self, delay_s: float, count: int) -> None:
        super().__init__(delay_s)
        self.count = count

    @staticmethod
    def key(number: int) -> str:
        """Of an object; a greater number has a greater one."""
        return f"in/{number // 1000:07d}/{number:010d}.png"

    def _list(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        del bucket
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        begin = bisect.bisect_right(range(self.count), after, key=self.key)
        end = min(begin + _PAGE, self.count)
        rows = "".join(
            f"<Contents><Key>{self.key(n)}</Key><Size>80000</Size>"
            f'<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"{n:032x}"</ETag>'
            "</Contents>"
            for n in range(begin, end)
        )
        more = ""
        if end < self.count:
            more = f"<NextContinuationToken>{self.key(end - 1)}</NextContinuationToken>"
        return (
            f"<ListBucketResult><IsTruncated>{str(bool(more)).lower()}</IsTruncated>{more}{rows}"
            "</ListBucketResult>"
        ).encode()


@contextlib.contextmanager
def generated_bucket(count: int, delay_ms: int = 0) -> Iterator[None]:
    """``s3://hospital/in`` with so many made up objects, in a process of its own.

    The environment names it to this process and those that it starts.
    """
    command = [sys.executable, "-m", "benchmarks.s3_server", str(delay_ms), str(count)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "of-a-benchmark",
            "AWS_SECRET_ACCESS_KEY": "of-a-benchmark",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(server.stdout.readline())}",
        }
        yield
    finally:
        server.kill()
        server.wait()


async def main(delay_ms: float, listed: int = 0) -> None:
    """Serve until the process is ended."""
    delay_s = delay_ms / 1000
    server = GeneratedListing(delay_s, listed) if listed else Server(delay_s)
    listening = await server.start()
    print(server.endpoint.rpartition(":")[2], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]), *map(int, sys.argv[2:])))
