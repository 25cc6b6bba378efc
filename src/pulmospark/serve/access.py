"""Who may ask: host names, cross-site requests, tokens; and the headers of every answer.

A page of another site that is open in a user's browser can send requests to services on the
user's own machine. So ``Host`` must be a name of this service, which stops DNS rebinding, and a
request that a browser marks as coming from another origin is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pulmospark.config.serve import ServeSettings, is_loopback
from pulmospark.serve.errors import ServiceError, error_response
from pulmospark.serve.tokens import Tokens

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_OPEN: Final = ("/health", "/ready", "/static/", "/v2/health/")
"""paths without a token: they say nothing of images or model"""
_LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True)
class Access:
    """The rules; see :meth:`of`."""

    hosts: frozenset[str]
    """lower-case names of ``Host``, without the port; empty: any"""
    tokens: Tokens | None
    admins: Tokens | None
    open_paths: tuple[str, ...] = field(default=_OPEN)

    @classmethod
    def of(cls, settings: ServeSettings, tokens: Tokens | None, admins: Tokens | None) -> Access:
        """The rules that settings stand for.

        Behind a token any ``Host`` is taken, unless names are given: a page of another site does
        not know the token.
        """
        names = {name.lower() for name in settings.hosts}
        if tokens is None or names:
            own = f"[{settings.host}]" if ":" in settings.host else settings.host
            names |= {own.lower()}
            if is_loopback(settings.host):
                names |= _LOOPBACK_NAMES
        return cls(frozenset(names), tokens, admins)

    def client(self, scope: Scope) -> str:
        """Name of the client that sent a request.

        Raises:
            ServiceError: it is refused.
        """
        headers = Headers(scope=scope)
        self._check_host(headers)
        _check_origin(headers, scope)
        token = _token(headers)
        if self.admins is not None and token and (name := self.admins.name_of(token)):
            scope["state"]["is_admin"] = True
            return name
        if self.tokens is None:
            return "local"
        name = self.tokens.name_of(token) if token else None
        if name is not None:
            return name
        if scope["path"] == "/" or scope["path"].startswith(self.open_paths):
            return "anonymous"
        raise ServiceError(401, "a token is needed: send the header Authorization: Bearer TOKEN")

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if self.hosts and _without_port(host).lower() not in self.hosts:
            raise ServiceError(
                421, f"Host {host[:100]!a} is not a name of this service: add it with --allow-host"
            )


def check_admin(scope: Scope) -> None:
    """Refuse a request without the token of an administrator.

    Raises:
        ServiceError: 403.
    """
    if not scope["state"].get("is_admin"):
        raise ServiceError(
            403, "only an administrator may do this: start with --admin-token-file, send its token"
        )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _check_origin(headers: Headers, scope: Scope) -> None:
    """Refuse what a browser sends for another site's page."""
    origin = headers.get("origin")
    if origin is not None:
        parts = urlsplit(origin) if len(origin) <= 300 else None
        if parts is None or parts.netloc.lower() != headers.get("host", "").lower():
            raise ServiceError(403, "requests of other sites' pages are refused (Origin)")
    # A link from another site may open the page itself, which then asks by itself.
    site = headers.get("sec-fetch-site", "none")
    if site not in {"same-origin", "none"} and scope["path"] != "/":
        raise ServiceError(403, "requests of other sites' pages are refused (Sec-Fetch-Site)")


def _token(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class AccessMiddleware:
    """Checks each request before its body is read, and adds headers to each answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        scope["state"]["request_id"] = secrets.token_hex(16)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                _add(headers, SECURITY_HEADERS.items())
                headers["X-Request-Id"] = scope["state"]["request_id"]
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            scope["state"]["client"] = self._access.client(scope)
        except ServiceError as error:
            await error_response(error)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


def _add(headers: MutableHeaders, pairs: Iterable[tuple[str, str]]) -> None:
    for name, value in pairs:
        headers.setdefault(name, value)
