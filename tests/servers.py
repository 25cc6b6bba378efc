"""A server of one file on loopback, which can be told to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Server:
    """Serves ``content`` under its path, and a redirect everywhere else if asked to."""

    def __init__(self, content: bytes, path: str) -> None:
        self.content = content
        self.ranges = True
        self.etag: str | None = '"one"'
        self.length = True
        self.cut: int | None = None
        """bytes after which it breaks off"""
        self.moved_to = ""
        """where the redirect leads"""
        self.asked: list[str | None] = []
        """the range of each request"""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                outer.asked.append(asked)
                if outer.moved_to and self.path != urlsplit(outer.moved_to).path:
                    self.send_response(302)
                    self.send_header("Location", outer.moved_to)
                    self.end_headers()
                    return
                if self.path != path:
                    self.send_error(404)
                    return
                wanted = self.headers.get("If-Range")
                partial = outer.ranges and asked is not None and wanted in (None, outer.etag)
                start = int((asked or "bytes=0-")[6:-1]) if partial else 0
                if partial and start >= len(outer.content):
                    self.send_error(416)
                    return
                body = outer.content[start:]
                self.send_response(206 if partial else 200)
                if partial:
                    last = len(outer.content)
                    self.send_header("Content-Range", f"bytes {start}-{last - 1}/{last}")
                if outer.etag:
                    self.send_header("ETag", outer.etag)
                if outer.length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: outer.cut])

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}{path}"


@contextmanager
def serving(content: bytes, path: str = "/set.zip") -> Iterator[Server]:
    """A server that runs until the end of the block."""
    server = Server(content, path)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
