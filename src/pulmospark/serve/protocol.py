"""HTTP/1.1 with bounds on time and headers, which uvicorn's own protocol does not have.

A connection that does not send a whole head in time, or nothing but framing, is closed, and so is
one that takes nothing of its answer. Bodies are bounded in :mod:`pulmospark.serve.bodies`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pulmospark.core import serve_limits


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with these bounds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._framing = self._body = self._fed = self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Of asyncio."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Of asyncio; counts what is neither head nor body of a sensible request."""
        self._fed = 0
        super().data_received(data)
        self._framing += len(data) - self._fed
        allowed = serve_limits.SERVE_HEAD_BYTES_MAX + serve_limits.SERVE_FRAMING_MAX * self._body
        if self._framing > allowed:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Of the parser."""
        super().on_message_begin()
        self._framing = self._body = 0
        self._await_head()

    def on_headers_complete(self) -> None:
        """Of the parser."""
        if self._head_timer is not None:
            self._head_timer.cancel()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Of the parser."""
        self._body += len(body)
        self._fed += len(body)
        super().on_body(body)

    def pause_writing(self) -> None:
        """Of asyncio: the client takes less than it is sent."""
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._await_reader()

    def resume_writing(self) -> None:
        """Of asyncio."""
        if self._send_timer is not None:
            self._send_timer.cancel()
        super().resume_writing()

    def _await_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = self.loop.call_later(
            serve_limits.SERVE_HEADER_SECONDS_MAX, self.transport.abort
        )

    def _await_reader(self) -> None:
        self._send_timer = self.loop.call_later(
            serve_limits.SERVE_SEND_SECONDS_MAX, self._check_reader
        )

    def _check_reader(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= self._unsent:
            self.transport.abort()
            return
        self._unsent = left
        self._await_reader()

    def _cancel_timers(self) -> None:
        for timer in (self._head_timer, self._send_timer):
            if timer is not None:
                timer.cancel()
