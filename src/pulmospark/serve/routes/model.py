"""``/api/v1/model``: the served model, and its exchange."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

import pulmospark
from pulmospark.core.errors import PulmosparkError
from pulmospark.serve.access import check_admin
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.model_folders import named_bundle
from pulmospark.serve.responses import ErrorAnswer, ModelAnswer, ModelRequest
from pulmospark.serve.run_of_bundle import audits_of, run_of
from pulmospark.serve.served_model import ServedModel
from pulmospark.serve.service import Service

_REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (403, 404, 422)
}


def model_routes(service: Service) -> APIRouter:
    """The routes of the served model."""
    router = APIRouter(prefix="/api/v1", tags=["model"])

    @router.get("/model", response_model=ModelAnswer)
    def model() -> JSONResponse:
        """The served model: its card, operating points, and the audits of its run."""
        return JSONResponse(_described(service.model))

    @router.put("/model", response_model=ModelAnswer, responses=_REFUSED)
    def exchange(request: Request, wanted: ModelRequest) -> JSONResponse:
        """Take up another bundle, or the same one again; an administrator's token is needed.

        Requests that have begun are answered by the earlier model, later ones by the new one; none
        is refused meanwhile.
        """
        check_admin(request.scope)
        folder = service.model.folder
        if wanted.name is not None:
            folder = named_bundle(service.settings.bundles, wanted.name)
        try:
            opened = service.open_model(folder)
        except PulmosparkError as error:
            raise ServiceError(422, f"the earlier model stays: {error.message}") from error
        request.state.audit = {"model": opened.facts.digest}
        return JSONResponse(_described(opened))

    return router


def _described(model: ServedModel) -> dict[str, object]:
    """A ``responses.ModelAnswer`` as JSON."""
    run = run_of(model.folder)
    return {
        "model": model.facts.named(),
        "classes": list(model.facts.classes),
        "operating_points": [
            {
                "positive_class": point.positive_class,
                "threshold": point.threshold,
                "sensitivity_target": point.sensitivity_target,
            }
            for point in model.facts.points
        ],
        "card": model.card,
        "metrics": model.metrics,
        "precision": model.scorer.engine.precision,
        "engine": model.scorer.engine.kind,
        "heatmaps": True,
        "loaded_at": model.loaded_at,
        "run": run and run.root.name,
        "audits": audits_of(run) if run else [],
        "not_a_medical_device": pulmospark.NOT_A_MEDICAL_DEVICE,
    }
