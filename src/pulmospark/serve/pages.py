"""The page: static files, the same for everyone, and what only the page asks for.

They hold no data: a browser gets them without a token, and the page asks for one when the REST
interface does.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pulmospark.core.hashing import bytes_id
from pulmospark.serve.access import SECURITY_HEADERS
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.routes.runs import run_routes
from pulmospark.serve.service import Service

_INDEX: Final = "index.html"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS: Final = {
    # No code of the page can turn text into markup, whatever it forgets: names come from outside.
    "Content-Security-Policy": SECURITY_HEADERS["Content-Security-Policy"]
    + "; require-trusted-types-for 'script'; trusted-types 'none'",
    # Asked for anew, and answered with 304: a new version of the page shows at once.
    "Cache-Control": "no-cache",
}


def page_routes(service: Service) -> APIRouter:
    """The routes of the page, ``/`` and ``/static/NAME``, and of the runs that it browses.

    The files are read once, here. A name is looked up among them, and never becomes a path.
    """
    contents = {
        file.name: file.read_bytes()
        for file in files("pulmospark.serve").joinpath("static").iterdir()
        if _extension(file.name) in _TYPES
    }
    tags = {name: f'"{bytes_id(content)[:32]}"' for name, content in contents.items()}
    router = APIRouter()

    def answer(name: str, request: Request) -> Response:
        headers = {**_HEADERS, "ETag": tags[name]}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(contents[name], headers=headers, media_type=_TYPES[_extension(name)])

    @router.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return answer(_INDEX, request)

    @router.get("/static/{name}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        if name not in contents:
            raise ServiceError(404, f"/static/{name}: the page has no such file")
        return answer(name, request)

    router.include_router(run_routes(service.settings.runs))
    return router


def _extension(name: str) -> str:
    return name[name.rfind(".") :]
