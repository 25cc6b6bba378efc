"""The page: ``/`` and ``/static``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from pulmospark.serve.service import Service

STATIC: Final = Path(__file__).with_name("static")


def page_routes(service: Service) -> APIRouter:
    """The routes of the page, and of what only the page asks for."""
    del service
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def index() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    router.routes.append(Mount("/static", StaticFiles(directory=STATIC), name="static"))
    return router
