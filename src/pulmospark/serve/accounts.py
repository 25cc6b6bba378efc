"""Counts each request, and enters those that ask for something in the audit log."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulmospark.serve.audit_log import AuditLog
from pulmospark.serve.metrics import ServeMetrics

_AUDITED: Final = ("/api/", "/v2/models/")
_LOG = logging.getLogger(__name__)


class Accounts:
    """See above; lies between access and bodies, so that refused bodies are entered, too."""

    def __init__(self, app: ASGIApp, metrics: ServeMetrics, audit: AuditLog) -> None:
        self._app, self._metrics, self._audit = app, metrics, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0  # the client went away

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if scope["path"].startswith(_AUDITED):
                    self._enter(scope, status, time.perf_counter() - begun)
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            self._metrics.requested(_route(scope), status, time.perf_counter() - begun)

    def _enter(self, scope: Scope, status: int, seconds: float) -> None:
        peer = scope.get("client") or ("",)
        facts: dict[str, Any] = {
            "request": scope["state"]["request_id"],
            "client": scope["state"]["client"],
            "address": peer[0],
            "method": scope["method"],
            "route": _route(scope),
            "status": status,
            "seconds": round(seconds, 4),
            **scope["state"].get("audit", {}),
        }
        try:
            self._audit.add(facts)
        except OSError as error:
            # An answer that is not in the log would be one that nobody can account for.
            _LOG.error("audit log: %s", error.strerror)
            raise


def _route(scope: Scope) -> str:
    """The route's template: an address itself may hold identifiers."""
    route = scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return str(path) if path else "none"
