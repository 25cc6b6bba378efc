"""``/api/v1/results`` and ``/api/v1/studies``: the worklist."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import JSONResponse, Response

import pulmospark
from pulmospark.core import serve_limits
from pulmospark.serve import worklist
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.responses import (
    ErrorAnswer,
    ResultAnswer,
    ResultsAnswer,
    Status,
    StudyAnswer,
)
from pulmospark.serve.service import Service

ResultId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
StudyId = Annotated[str, Path(pattern="^[0-9a-f]{20}$")]
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ErrorAnswer}}


def result_routes(service: Service) -> APIRouter:
    """The routes of the worklist."""
    router = APIRouter(prefix="/api/v1", tags=["results"])

    @router.get("/results", response_model=ResultsAnswer)
    def results(
        sort: worklist.Sort = "time",
        class_: Annotated[
            str | None,
            Query(
                alias="class",
                description="whose probabilities are sorted and filtered by; default: that of the "
                "first operating point",
            ),
        ] = None,
        prediction: Annotated[str | None, Query(description="most probable class")] = None,
        status: Status | None = None,
        min_: Annotated[float | None, Query(alias="min", ge=0.0, le=1.0)] = None,
        max_: Annotated[float | None, Query(alias="max", ge=0.0, le=1.0)] = None,
        source: str | None = None,
        study: str | None = None,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=serve_limits.SERVE_PAGE_RESULTS_MAX)] = 100,
    ) -> JSONResponse:
        """What came in: latest first, or most probable first."""
        query = worklist.Query(
            sort, class_, status, min_, max_, source, study, prediction, cursor, limit
        )
        page = worklist.find(service.ledger.read(), query, _first_class(service))
        return JSONResponse({**page, "not_a_medical_device": pulmospark.NOT_A_MEDICAL_DEVICE})

    @router.get("/results/{result_id}", response_model=ResultAnswer, responses=_NOT_FOUND)
    def result(result_id: ResultId) -> JSONResponse:
        """One result."""
        row = worklist.one(service.ledger.read(), result_id)
        return JSONResponse(json.loads(row["body"]))

    @router.delete("/results/{result_id}", status_code=204, responses=_NOT_FOUND)
    async def delete(result_id: ResultId) -> Response:
        """Delete a result with its image; the ledger keeps its line of the request."""
        removed = await asyncio.wrap_future(
            service.ledger.write(lambda connection: worklist.remove(connection, result_id))
        )
        service.drop(removed)
        return Response(status_code=204)

    _add_studies(router, service)
    return router


def _add_studies(router: APIRouter, service: Service) -> None:
    @router.get("/studies/{study}", response_model=StudyAnswer, responses=_NOT_FOUND)
    def of_study(study: StudyId) -> JSONResponse:
        """The images of a study, in the order of its slices."""
        results = worklist.of_study(service.ledger.read(), study)
        if not results:
            raise ServiceError(404, "no such study: its results were deleted, or it is too old")
        return JSONResponse(
            {
                "study": study,
                "results": results,
                "not_a_medical_device": pulmospark.NOT_A_MEDICAL_DEVICE,
            }
        )


def _first_class(service: Service) -> str:
    model = service.model.facts
    return model.points[0].positive_class if model.points else model.classes[0]
