"""The ASGI application."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

import pulmospark
from pulmospark.core.errors import PulmosparkError
from pulmospark.serve import pages
from pulmospark.serve.access import Access, AccessMiddleware
from pulmospark.serve.bodies import BodyCount, BodyLimits
from pulmospark.serve.errors import error_json, on_service_error
from pulmospark.serve.routes.model import model_routes
from pulmospark.serve.routes.predict import predict_routes
from pulmospark.serve.routes.results import result_routes
from pulmospark.serve.routes.status import status_routes
from pulmospark.serve.service import Service


def create_app(service: Service, access: Access) -> FastAPI:
    """The application of a service.

    Args:
        service: answers.
        access: who may ask.
    """
    app = FastAPI(
        title="pulmospark",
        version=pulmospark.__version__,
        description=pulmospark.NOT_A_MEDICAL_DEVICE,
        # Their pages load scripts from a content delivery network.
        docs_url=None,
        redoc_url=None,
    )
    routers = (
        status_routes(service),
        predict_routes(service),
        result_routes(service),
        model_routes(service),
        pages.page_routes(service),
    )
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(PulmosparkError, on_service_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    # The last one added is the outermost.
    app.add_middleware(BodyLimits, count=BodyCount())
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
