"""``/health``, ``/ready`` and ``/metrics``."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from pulmospark.serve.responses import ErrorAnswer, HealthAnswer
from pulmospark.serve.service import Service

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def status_routes(service: Service) -> APIRouter:
    """The routes for those who watch the service."""
    router = APIRouter(tags=["status"])

    @router.get("/health", response_model=HealthAnswer)
    async def health() -> JSONResponse:
        """Whether the process answers."""
        return JSONResponse({"status": "ok", "detail": None})

    @router.get("/ready", response_model=HealthAnswer, responses={503: {"model": ErrorAnswer}})
    async def ready() -> JSONResponse:
        """Whether the model is open."""
        digest = service.model.facts.digest  # raises 503 while it is not
        return JSONResponse({"status": "ready", "detail": digest})

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Counts and times in Prometheus' text format."""
        service.metrics.queued.set(len(service.queue))
        return Response(service.metrics.text(), media_type=_PROMETHEUS)

    return router
