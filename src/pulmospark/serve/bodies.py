"""Bounds on bodies: bytes of one, bytes of all, time, and how many requests are worked on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulmospark.core import serve_limits
from pulmospark.serve.errors import ServiceError, error_response

_SIZES = (
    ("/api/v1/predict", serve_limits.SERVE_BODY_BYTES_MAX),
    ("/v2/models/", serve_limits.SERVE_TENSOR_BYTES_MAX),
)


def body_bytes_max(path: str) -> int:
    """Bytes that a body may have, by the path it is sent to."""
    for start, most in _SIZES:
        if path.startswith(start):
            return most
    return serve_limits.SERVE_JSON_BYTES_MAX


@dataclass(eq=False)
class BodyCount:
    """What all bodies have in common."""

    held: int = 0
    """bytes of bodies whose requests are not answered yet"""


class BodyLimits:
    """Counts the bytes of each body as it comes, and ends the wait for a slow one."""

    def __init__(self, app: ASGIApp, count: BodyCount) -> None:
        self._app, self._count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive, self._count)
        is_started = False

        async def send_noting(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                if not body.is_complete:  # nobody reads the rest, which may never end
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        try:
            body.check_declared()
            await self._app(scope, body.receive, send_noting)
        except ServiceError as error:
            if is_started:
                raise
            response = error_response(error)
            await response(scope, receive, send_noting)
        finally:
            self._count.held -= body.taken


def _has_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


class _Body:
    def __init__(self, scope: Scope, receive: Receive, count: BodyCount) -> None:
        self._receive, self._count = receive, count
        self._most = body_bytes_max(scope["path"])
        self._declared = Headers(scope=scope).get("content-length", "")
        self._begun = time.monotonic()
        self.is_complete = not _has_body(scope)
        self.taken = 0

    def check_declared(self) -> None:
        """Refuse a body that says itself that it is too large."""
        if self._declared.isdigit() and int(self._declared[:20]) > self._most:
            raise ServiceError(413, f"a body of {self._declared[:20]} bytes, over {self._most}")

    async def receive(self) -> Message:
        """The next part of the body, as ASGI gives it."""
        if self.is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout(serve_limits.SERVE_BODY_SILENCE_SECONDS_MAX):
                message = await self._receive()
        except TimeoutError:
            raise ServiceError(
                408,
                f"no byte for {serve_limits.SERVE_BODY_SILENCE_SECONDS_MAX:g} s: send it again",
            ) from None
        if message["type"] != "http.request":
            self.is_complete = True
            return message
        size = len(message.get("body", b""))
        self.taken += size
        self._count.held += size
        self.is_complete = not message.get("more_body", False)
        self._check()
        return message

    def _check(self) -> None:
        if self.taken > self._most:
            raise ServiceError(413, f"a body of over {self._most} bytes: send fewer files at once")
        if self._count.held > serve_limits.SERVE_BODIES_BYTES_MAX:
            raise ServiceError(
                503, "other requests use all the memory for bodies: try again", retry_after_s=5
            )
        seconds = time.monotonic() - self._begun
        is_late = seconds > serve_limits.SERVE_BODY_GRACE_SECONDS and not self.is_complete
        if is_late and self.taken < seconds * serve_limits.SERVE_BODY_RATE_MIN:
            raise ServiceError(
                408,
                f"{self.taken} bytes in {seconds:.0f} s, below {serve_limits.SERVE_BODY_RATE_MIN} "
                "bytes/s: use a faster connection",
            )
