"""``POST /api/v1/predict``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse

from pulmospark.core import serve_limits
from pulmospark.serve.responses import ErrorAnswer, PredictAnswer
from pulmospark.serve.service import Service, Wanted
from pulmospark.serve.uploads import form_files, uploaded

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "PNG, JPEG, TIFF, BMP, WebP or DICOM files, or ZIP "
                            "archives of them",
                        }
                    },
                }
            }
        },
    }
}


def predict_routes(service: Service) -> APIRouter:
    """The route that scores uploads."""
    router = APIRouter(prefix="/api/v1", tags=["predict"])

    @router.post(
        "/predict",
        response_model=PredictAnswer,
        responses={
            status: {"model": ErrorAnswer} for status in (400, 401, 408, 413, 415, 422, 501, 503)
        },
        openapi_extra=_FORM,
    )
    async def predict(
        request: Request,
        heatmap: Annotated[bool, Query(description="also make heat maps")] = False,
        store: Annotated[
            bool, Query(description="keep the images, so that they can be viewed")
        ] = True,
        idempotency_key: Annotated[
            str | None,
            Header(
                max_length=serve_limits.SERVE_KEY_CHARS_MAX,
                description="the same key again gets the first request's results",
            ),
        ] = None,
    ) -> JSONResponse:
        """Score images: one result for each image, or for each file that was rejected."""
        files = await form_files(request)
        source = "page" if request.headers.get("x-pulmospark-page") else "rest"
        wanted = Wanted(
            request.state.request_id, source, heatmap=heatmap, store=store, key=idempotency_key
        )
        try:
            answer = await service.predict(uploaded(files), wanted)
        finally:
            await request.close()  # the temporary files
        statuses = [result["status"] for result in answer["results"]]
        request.state.audit = {
            "images": statuses.count("scored"),
            "rejects": statuses.count("rejected"),
            "model": answer["model"]["digest"],
        }
        return JSONResponse(answer)

    return router
