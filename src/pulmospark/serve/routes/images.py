"""The image of a result: as PNG, as samples for window and level, and its heat map."""

from __future__ import annotations

import json
import math
import threading
from typing import Annotated, Any

import cv2
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from pulmospark.core import serve_limits
from pulmospark.core.safe_text import shown
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.viewing import Viewed, view_file
from pulmospark.serve import heat_maps, worklist
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.responses import ErrorAnswer
from pulmospark.serve.service import Service

ResultId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_GONE: dict[int | str, dict[str, Any]] = {404: {"model": ErrorAnswer}, 410: {"model": ErrorAnswer}}
_PNG: dict[int | str, dict[str, Any]] = {**_GONE, 200: {"content": {"image/png": {}}}}
_RAW: dict[int | str, dict[str, Any]] = {
    **_GONE,
    200: {"content": {"application/octet-stream": {}}},
}


def image_routes(service: Service) -> APIRouter:
    """The routes of a result's image."""
    router = APIRouter(prefix="/api/v1/results/{result_id}", tags=["images"])
    viewer = _Viewer(service)

    @router.get("/image.png", response_class=Response, responses=_PNG)
    def image_png(
        result_id: ResultId,
        wl: Annotated[float | None, Query(description="centre of the window, in values")] = None,
        ww: Annotated[float | None, Query(gt=0.0, description="its width")] = None,
    ) -> Response:
        """The image in 8 bits, in the model's window or another one."""
        if not all(math.isfinite(value) for value in (wl, ww) if value is not None):
            raise ServiceError(422, "wl and ww: give finite numbers")
        return _png(viewer.view(result_id).grey(wl, ww))

    @router.get("/pixels", response_class=Response, responses=_RAW)
    def pixels(result_id: ResultId) -> Response:
        """The image's samples, 16 bit little endian, row by row; the headers say what they mean.

        ``X-Rows``, ``X-Columns``, ``X-Bits`` (used), ``X-Slope`` and ``X-Intercept`` (value =
        sample * slope + intercept, in Hounsfield units for CT), ``X-Window-Level`` and
        ``X-Window-Width`` (in values, as the model's image was made), ``X-Scale`` (pixels of the
        original for each). Higher samples are brighter.
        """
        viewed = viewer.view(result_id)
        rows, columns = viewed.samples.shape
        facts = {
            "Rows": rows,
            "Columns": columns,
            "Bits": viewed.bits,
            "Slope": viewed.slope,
            "Intercept": viewed.intercept,
            "Window-Level": viewed.level,
            "Window-Width": viewed.width,
            "Scale": viewed.scale,
        }
        return Response(
            viewed.samples.astype("<u2", copy=False).tobytes(),
            media_type="application/octet-stream",
            headers={f"X-{name}": str(value) for name, value in facts.items()},
        )

    @router.get("/heatmap.png", response_class=Response, responses=_PNG)
    def heatmap_png(result_id: ResultId) -> Response:
        """The heat map alone, transparent where it is cold, in the image's coordinates."""
        return Response(viewer.heat(result_id), media_type="image/png")

    @router.get("/overlay.png", response_class=Response, responses=_PNG)
    def overlay_png(result_id: ResultId) -> Response:
        """Image and heat map together, with a colour bar and what it shows."""
        heat = viewer.heat(result_id)
        return Response(viewer.overlay(result_id, heat), media_type="image/png")

    return router


class _Viewer:
    """Decodes what is asked for; few at a time, for each may take 300 MB."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._room = threading.BoundedSemaphore(serve_limits.SERVE_VIEWS_MAX)

    def view(self, result_id: str) -> Viewed:
        """A result's image.

        Raises:
            ServiceError: there is no such result, or its image is not kept.
        """
        row = worklist.one(self._service.ledger.read(), result_id)
        data = row["image"] and self._service.images.get(row["image"])
        if not data:
            raise ServiceError(410, "the image is not kept: it was sent with store=false, or made "
                               "room for later ones")  # fmt: skip
        with self._room:
            viewed = view_file(data, row["frame"], self._service.model.reading.ct_window)
        if isinstance(viewed, Rejected):
            raise ServiceError(410, f"the image cannot be shown: {viewed.detail}")
        return viewed

    def heat(self, result_id: str) -> bytes:
        """A result's heat map, PNG.

        Raises:
            ServiceError: there is no such result, or it has none.
        """
        worklist.one(self._service.ledger.read(), result_id)
        heat = self._service.heat.get(result_id)
        if heat is None:
            raise ServiceError(404, "the result has no heat map: ask for it with heatmap=true")
        return heat

    def overlay(self, result_id: str, heat: bytes) -> bytes:
        """A result's image with its heat map, PNG; errors of :meth:`view`."""
        body = json.loads(worklist.one(self._service.ledger.read(), result_id)["body"])
        title = f"evidence for {shown(body['heatmap']['class'])} ({body['heatmap']['method']})"
        phantom = body["model"]["phantoms"]
        return heat_maps.laid_over(self.view(result_id).grey(), heat, title, phantom=phantom)


def _png(pixels: Any) -> Response:
    # The lowest level: three times as fast, and a tenth larger.
    is_done, content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert is_done
    return Response(content.tobytes(), media_type="image/png")
