"""Errors of the REST interface: a status and one line."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse

from pulmospark.core.errors import PlatformError, PulmosparkError
from pulmospark.core.safe_text import one_line
from pulmospark.serve.responses import ErrorAnswer, ErrorBody


class ServiceError(PulmosparkError):
    """A request that cannot be answered.

    Args:
        status: of HTTP.
        message: what was found, what was allowed, what to do.
        retry_after_s: when to try again.
    """

    def __init__(self, status: int, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


def error_response(error: ServiceError) -> JSONResponse:
    """The answer to a request that failed."""
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return error_json(error.status, type(error).__name__, error.message, headers)


def error_json(
    status: int, kind: str, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as JSON."""
    body = ErrorAnswer(error=ErrorBody(kind=kind, message=one_line(message)))
    return JSONResponse(body.model_dump(), status, headers)


async def on_service_error(request: Request, error: Exception) -> JSONResponse:
    """Handler of :class:`ServiceError` and the project's other errors."""
    del request
    if isinstance(error, ServiceError):
        return error_response(error)
    assert isinstance(error, PulmosparkError)
    # A full disk, say: "insufficient storage".
    return error_json(
        507 if isinstance(error, PlatformError) else 500, type(error).__name__, error.message
    )
