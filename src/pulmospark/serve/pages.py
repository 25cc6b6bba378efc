"""The page: static files, the same for everyone, with headers that let it run nothing else.

They hold no data: a browser gets them without a token, and the page asks for one when the REST
interface does.
"""

from __future__ import annotations

from importlib.resources import files
from types import MappingProxyType

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pulmospark.core.hashing import bytes_id
from pulmospark.serve.errors import ServiceError

_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No code can turn text into markup, whatever it forgets: names come from outside.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""of the page: its own files and the service, no inline script or style, no frame around it"""

HEADERS = MappingProxyType(
    {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        # Asked for anew, and answered with 304: an updated package shows at once.
        "Cache-Control": "no-cache",
    }
)
"""of every file of the page"""


def page_router() -> APIRouter:
    """Routes ``/`` and ``/static/NAME``; the files are read once, here.

    A name is looked up among the files that there are, and never becomes a path.
    """
    contents = {
        file.name: file.read_bytes()
        for file in files("pulmospark.serve").joinpath("static").iterdir()
        if _extension(file.name) in _TYPES
    }
    tags = {name: f'"{bytes_id(content)[:32]}"' for name, content in contents.items()}
    router = APIRouter(include_in_schema=False)

    def answer(name: str, request: Request) -> Response:
        headers = {**HEADERS, "ETag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(contents[name], headers=headers, media_type=_TYPES[_extension(name)])

    @router.get("/")
    async def index(request: Request) -> Response:
        return answer(_INDEX, request)

    @router.get("/static/{name}")
    async def static(name: str, request: Request) -> Response:
        if name not in contents:
            raise ServiceError(404, f"/static/{name}: the page has no such file")
        return answer(name, request)

    return router


def _extension(name: str) -> str:
    return name[name.rfind(".") :]
