"""``/api/v1/model``."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

import pulmospark
from pulmospark.serve.responses import ModelAnswer
from pulmospark.serve.results import model_name
from pulmospark.serve.served_model import ServedModel
from pulmospark.serve.service import Service


def model_routes(service: Service) -> APIRouter:
    """The routes of the served model."""
    router = APIRouter(prefix="/api/v1", tags=["model"])

    @router.get("/model", response_model=ModelAnswer)
    def model() -> JSONResponse:
        """The served model: its card, operating points and audits."""
        return JSONResponse(described(service.model))

    return router


def described(model: ServedModel) -> dict[str, object]:
    """A ``responses.ModelAnswer`` as JSON."""
    return {
        "model": model_name(model),
        "classes": list(model.classes),
        "operating_points": [
            {
                "positive_class": point.positive_class,
                "threshold": point.threshold,
                "sensitivity_target": point.sensitivity_target,
            }
            for point in model.points
        ],
        "card": model.card,
        "metrics": model.metrics,
        "precision": model.scorer.engine.precision,
        "engine": model.scorer.engine.kind,
        "heatmaps": False,
        "loaded_at": model.loaded_at,
        "run": None,
        "audits": [],
        "not_a_medical_device": pulmospark.NOT_A_MEDICAL_DEVICE,
    }
