"""The ASGI application."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import pulmospark
from pulmospark.core.errors import PulmosparkError
from pulmospark.serve import pages
from pulmospark.serve.access import Access, AccessMiddleware
from pulmospark.serve.accounts import Accounts
from pulmospark.serve.bodies import BodyCount, BodyLimits
from pulmospark.serve.errors import error_json, on_service_error
from pulmospark.serve.jobs import Jobs
from pulmospark.serve.routes.images import image_routes
from pulmospark.serve.routes.jobs import job_routes
from pulmospark.serve.routes.model import model_routes
from pulmospark.serve.routes.open_inference import open_inference_routes
from pulmospark.serve.routes.predict import predict_routes
from pulmospark.serve.routes.results import result_routes
from pulmospark.serve.routes.status import status_routes
from pulmospark.serve.service import Service

_LOG = logging.getLogger(__name__)


def create_app(service: Service, access: Access, jobs: Jobs) -> FastAPI:
    """The application of a service.

    Args:
        service: answers.
        access: who may ask.
        jobs: batch jobs of the service.
    """
    app = FastAPI(
        title="pulmospark",
        version=pulmospark.__version__,
        description=pulmospark.NOT_A_MEDICAL_DEVICE,
        # Their pages load scripts from a content delivery network.
        docs_url=None,
        redoc_url=None,
    )
    # Routes are tried in this order, and most requests are the first one's.
    routers = (
        predict_routes(service),
        status_routes(service),
        result_routes(service),
        image_routes(service),
        job_routes(jobs),
        model_routes(service),
        open_inference_routes(service),
        pages.page_routes(service),
    )
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(PulmosparkError, on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)
    # The last one added is the outermost.
    app.add_middleware(BodyLimits, count=BodyCount())
    app.add_middleware(Accounts, metrics=service.metrics, audit=service.audit)
    app.add_middleware(AccessMiddleware, access=access)
    return app


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return error_json(422, "ValidationError", f"{place}: {first['msg']}")


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    del request
    assert isinstance(error, HTTPException)
    return error_json(error.status_code, "HTTPError", str(error.detail))


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    """No traceback and no value leaves the process: either may hold what was in a file."""
    del request
    _LOG.error("a bug in pulmospark", exc_info=error)
    return error_json(500, type(error).__name__, "a bug in pulmospark: its log has the traceback")
