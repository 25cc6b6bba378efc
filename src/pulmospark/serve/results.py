"""From a scored file to its results, as the interface answers and the ledger keeps them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pulmospark.core import serve_limits
from pulmospark.core.safe_text import one_line
from pulmospark.core.schemas import Caution
from pulmospark.imaging.decode import Rejected
from pulmospark.inference.batch.cautions import sentence
from pulmospark.serve.heat_maps import HeatMapFile
from pulmospark.serve.scoring_queue import FileOutcome, ScoredImage
from pulmospark.serve.served_model import ModelFacts

ABSTAINS = frozenset(
    {
        Caution.UNLIKE_TRAINING_IMAGES,
        Caution.OTHER_VIEW,
        Caution.OTHER_BODY_PART,
        Caution.NOT_A_PHANTOM,
    }
)
"""cautions with which the model abstains: the image is outside what it was trained on"""


@dataclass(frozen=True, eq=False)
class Result:
    """One result."""

    body: dict[str, Any]
    """a ``responses.ResultAnswer`` as JSON"""
    image_id: str | None
    """SHA-256 of the file's bytes; ``None``: they were not identified"""
    frame: int | None
    heat: HeatMapFile | None

    @property
    def id(self) -> str:
        """Of the result."""
        return str(self.body["id"])


def shown_name(name: str | None) -> str:
    """A file's name as it was given, for display only: one line, and not long."""
    return one_line(name or "", serve_limits.SERVE_NAME_CHARS_MAX)


@dataclass(frozen=True)
class Origin:
    """Where a file came from."""

    name: str
    source: str
    at: str
    """ISO 8601, UTC"""


def results_of(
    outcome: FileOutcome,
    model: ModelFacts,
    origin: Origin,
    file_id: str,
    *,
    seconds: float,
    stored: bool,
) -> Iterator[Result]:
    """The results of a file: one for each image, or one for a reject.

    Args:
        outcome: of the queue.
        model: that scored it.
        origin: of the file.
        file_id: SHA-256 of its bytes.
        seconds: from the upload's end.
        stored: whether the file is kept for viewing.
    """
    if outcome.rejected is not None:
        yield Result(_reject(outcome.rejected, model, origin, seconds), None, None, None)
        return
    for image in outcome.images:
        body = _scored(image, model, origin, seconds, stored=stored)
        frame = image.facts["frame"]
        yield Result(body, file_id, frame, image.heat)


def _common(model: ModelFacts, origin: Origin, seconds: float) -> dict[str, Any]:
    return {
        "id": secrets.token_hex(16),
        "name": origin.name,
        "source": origin.source,
        "created_at": origin.at,
        "seconds": round(seconds, 4),
        "model": model.named(),
    }


def _reject(
    rejected: Rejected, model: ModelFacts, origin: Origin, seconds: float
) -> dict[str, Any]:
    return {
        **_common(model, origin, seconds),
        "status": "rejected",
        "reject_reason": str(rejected.reason),
        "reject_detail": rejected.detail,
        "probabilities": {},
        "prediction": None,
        "decisions": [],
        "cautions": [],
        "abstained": False,
        "distance": None,
        "heatmap": None,
        "image": None,
    }


def _scored(
    image: ScoredImage, model: ModelFacts, origin: Origin, seconds: float, *, stored: bool
) -> dict[str, Any]:
    row, facts = image.prediction, image.facts
    common = _common(model, origin, seconds)
    probabilities = dict(zip(model.classes, row["probability"], strict=True))
    return {
        **common,
        "status": "scored",
        "reject_reason": None,
        "reject_detail": None,
        "probabilities": probabilities,
        "prediction": row["prediction"],
        "decisions": [
            {
                "positive_class": point.positive_class,
                "threshold": point.threshold,
                "positive": point.is_positive(probabilities[point.positive_class]),
                "sensitivity_target": point.sensitivity_target,
            }
            for point in model.points
        ],
        "cautions": [
            {"code": code, "text": sentence(code, row["distance"], model.fence)}
            for code in row["cautions"]
        ],
        "abstained": not ABSTAINS.isdisjoint(row["cautions"]),
        "distance": row["distance"],
        "heatmap": image.heat and _heat(image.heat, common["id"], stored=stored),
        "image": {
            "rows": facts["height"],
            "columns": facts["width"],
            "modality": str(facts["modality"]),
            "study": facts["study_id"],
            "series": facts["scan_id"],
            "slice_index": facts["slice_index"],
            "stored": stored,
        },
    }


def _heat(heat: HeatMapFile, result_id: str, *, stored: bool) -> dict[str, Any]:
    if stored:
        url = f"/api/v1/results/{result_id}/heatmap.png"
    else:
        url = "data:image/png;base64," + base64.b64encode(heat.png).decode()
    return {
        "url": url,
        "method": heat.method,
        "class": heat.class_name,
        "outside_lungs": heat.outside_lungs,
    }
