"""``/api/v1/runs``: predictions of finished runs, and the training images nearest to them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import pyarrow as pa
from fastapi import APIRouter, Query
from fastapi.responses import Response

import pulmospark
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.errors import InputError
from pulmospark.evaluation.results import Evaluation
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.nearest_images import METHOD, NearestImages
from pulmospark.serve.run_answers import (
    FigureAnswer,
    NearestAnswer,
    NeighbourAnswer,
    PredictionAnswer,
    PredictionsAnswer,
    RunAnswer,
    RunsAnswer,
    RunSummary,
    RunVerdict,
)
from pulmospark.serve.run_browser import (
    Order,
    Outcome,
    PredictionFilter,
    RunBrowser,
    RunPredictions,
    audits_of,
    file_name,
    is_of_phantoms,
)

_Probability = Annotated[float, Query(ge=0, le=1)]
_Text = Annotated[str | None, Query(max_length=limits.NAME_CHARS_MAX)]


class _Lookup:
    """What an address names; 404 for what is not there."""

    def __init__(self, runs: Path | None) -> None:
        self.browser = RunBrowser(runs) if runs is not None else None

    def run(self, name: str) -> RunPredictions:
        run = self.browser.predictions(name) if self.browser is not None else None
        if run is None:
            raise ServiceError(404, f"{name!r}: no evaluated run of this name below --runs")
        return run

    def row(self, run: RunPredictions, image_id: str) -> int:
        row = run.find(image_id)
        if row is None:
            raise ServiceError(404, f"{image_id!r}: the run has no prediction of this image")
        return row

    def pixels(self, run: RunPredictions, image_id: str) -> Pixels:
        assert self.browser is not None  # or there would be no run
        pixels = self.browser.images(run.folder).pixels(image_id)
        if pixels is None:
            raise ServiceError(404, f"{image_id!r}: the run's images table lacks this image")
        return pixels

    def nearest(self, run: RunPredictions, image_id: str) -> NearestImages:
        assert self.browser is not None
        fold = run.rows["fold"][self.row(run, image_id)].as_py()
        return self.browser.nearest(run.folder, fold)


def run_routes(runs: Path | None) -> APIRouter:
    """The routes; without a folder of runs, the list of them is empty.

    Args:
        runs: folder with a folder for each run.
    """
    router = APIRouter(prefix="/api/v1/runs", tags=["runs"])
    lookup = _Lookup(runs)

    @router.get("")
    def list_runs() -> RunsAnswer:
        """Runs that were evaluated, by name; a damaged one with its problem."""
        if lookup.browser is None:
            return RunsAnswer(runs=[], has_folder=False)
        names = lookup.browser.names()
        return RunsAnswer(runs=[_summary(lookup.browser, name) for name in names], has_folder=True)

    @router.get("/{run}")
    def one_run(run: str) -> RunAnswer:
        """A run's metrics, classes, sources and audits."""
        return _run(run, lookup.run(run))

    _add_predictions(router, lookup)
    _add_images(router, lookup)
    return router


def _add_predictions(router: APIRouter, lookup: _Lookup) -> None:
    @router.get("/{run}/predictions")
    def predictions(
        run: str,
        outcome: Outcome = "all",
        order: Order = "errors",
        label: _Text = None,
        prediction: _Text = None,
        source: _Text = None,
        probability_of: _Text = None,
        low: Annotated[_Probability, Query(alias="min")] = 0.0,
        high: Annotated[_Probability, Query(alias="max")] = 1.0,
        cursor: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=limits.BROWSED_PAGE_MAX)] = 48,
    ) -> PredictionsAnswer:
        """Predictions of the images that the run tested, errors first."""
        wanted = PredictionFilter(
            outcome=outcome, label=label, prediction=prediction, source=source,
            probability_of=probability_of, low=low, high=high, order=order,
        )  # fmt: skip
        read = lookup.run(run)
        if probability_of is not None and probability_of not in read.classes:
            raise ServiceError(
                422,
                f"{probability_of!r} is not a class of the run: give one of "
                f"{', '.join(read.classes)}",
            )
        rows = read.select(wanted)
        after = cursor + limit
        return PredictionsAnswer(
            predictions=[_prediction(read, row) for row in rows[cursor:after]],
            next_cursor=after if after < len(rows) else None,
            total=len(rows),
            not_a_medical_device=pulmospark.NOT_A_MEDICAL_DEVICE,
        )

    @router.get("/{run}/predictions/{image_id}")
    def one_prediction(run: str, image_id: str) -> PredictionAnswer:
        """The prediction of one image."""
        read = lookup.run(run)
        return _prediction(read, lookup.row(read, image_id))


def _add_images(router: APIRouter, lookup: _Lookup) -> None:
    @router.get("/{run}/images/{image_id}.png", response_class=Response)
    def image(run: str, image_id: str) -> Response:
        """The standard image, as the network saw it: 8-bit grey PNG."""
        pixels = lookup.pixels(lookup.run(run), image_id)
        return Response(_png(pixels), media_type="image/png", headers=_KEEP)

    @router.get("/{run}/predictions/{image_id}/nearest")
    def nearest(
        run: str,
        image_id: str,
        limit: Annotated[int, Query(ge=1, le=limits.NEAREST_SHOWN_MAX)] = 4,
    ) -> NearestAnswer:
        """Images that the model was trained on and that look most like this one."""
        read = lookup.run(run)
        search = lookup.nearest(read, image_id)
        rows = search.nearest(lookup.pixels(read, image_id), limit)
        return NearestAnswer(
            neighbours=[_neighbour(search.rows, row, similarity) for row, similarity in rows],
            method=METHOD,
            searched=search.rows.num_rows,
            of=search.of,
        )


_KEEP = {"Cache-Control": "private, max-age=3600"}


def _summary(browser: RunBrowser, name: str) -> RunSummary:
    try:
        evaluation = browser.evaluation(name)
    except InputError as error:
        return RunSummary(name=name, problem=error.message)
    if evaluation is None:
        return RunSummary(name=name, problem="removed while the list was made")
    return _figures(name, evaluation)


def _figures(name: str, evaluation: Evaluation) -> RunSummary:
    accuracy = evaluation.accuracy
    correct = sum(row[place] for place, row in enumerate(evaluation.confusion))
    return RunSummary(
        name=name,
        images=evaluation.images,
        errors=evaluation.images - correct,
        classes=evaluation.classes,
        accuracy=FigureAnswer(value=accuracy.value, low=accuracy.low, high=accuracy.high),
    )


def _run(name: str, run: RunPredictions) -> RunAnswer:
    report = audits_of(run.folder)
    audits = [
        RunVerdict(audit=it.name, title=it.title, verdict=it.verdict, text=it.sentence)
        for it in (report.audits if report else ())
    ]
    return RunAnswer(
        run=_figures(name, run.evaluation),
        phantoms=is_of_phantoms(run.folder),
        confusion=[list(row) for row in run.evaluation.confusion],
        sources=run.sources,
        audits=audits,
        not_a_medical_device=pulmospark.NOT_A_MEDICAL_DEVICE,
    )


def _prediction(run: RunPredictions, row: int) -> PredictionAnswer:
    values = {name: run.rows[name][row].as_py() for name in run.rows.column_names}
    return PredictionAnswer(
        image_id=values["image_id"],
        name=file_name(values["uri"]),
        label=values["label"],
        prediction=values["prediction"],
        correct=values["prediction"] == values["label"],
        probabilities=dict(zip(run.classes, run.probabilities[row].tolist(), strict=True)),
        source=values["source"],
        fold=values["fold"],
    )


def _neighbour(rows: pa.Table, row: int, similarity: float) -> NeighbourAnswer:
    values = {name: rows[name][row].as_py() for name in ("image_id", "uri", "label", "source")}
    return NeighbourAnswer(
        image_id=values["image_id"],
        name=file_name(values["uri"]),
        label=values["label"],
        source=values["source"],
        similarity=similarity,
    )


def _png(pixels: Pixels) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    assert done, "OpenCV encodes every uint8 array"
    return data.tobytes()
