"""``/api/v1/jobs``: batch jobs over folders and tables."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from pulmospark.serve.jobs import Jobs
from pulmospark.serve.responses import ErrorAnswer, JobAnswer, JobRequest, JobsAnswer

JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ErrorAnswer}}


def job_routes(jobs: Jobs) -> APIRouter:
    """The routes of batch jobs."""
    router = APIRouter(prefix="/api/v1", tags=["jobs"])

    @router.post(
        "/jobs",
        status_code=202,
        response_model=JobAnswer,
        responses={status: {"model": ErrorAnswer} for status in (403, 422, 429)},
    )
    def add(request: JobRequest) -> JSONResponse:
        """Score a folder or an images table, in the background."""
        return JSONResponse(jobs.add(request), 202)

    @router.get("/jobs", response_model=JobsAnswer)
    def all_jobs() -> JSONResponse:
        """All batch jobs, the latest first."""
        return JSONResponse({"jobs": jobs.all()})

    @router.get("/jobs/{job_id}", response_model=JobAnswer, responses=_NOT_FOUND)
    def job(job_id: JobId) -> JSONResponse:
        """One batch job."""
        return JSONResponse(jobs.one(job_id))

    @router.delete("/jobs/{job_id}", response_model=JobAnswer, responses=_NOT_FOUND)
    def cancel(job_id: JobId) -> JSONResponse:
        """Cancel a batch job; one that has ended stays as it is."""
        return JSONResponse(jobs.cancel(job_id))

    return router
