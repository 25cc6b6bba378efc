"""The Open Inference Protocol, version 2: tensors in, tensors out.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md

The input ``pixels`` are standard images as the network takes them; who has files uses
``/api/v1/predict``, which reads, checks and crops them as in training.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse

import pulmospark
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.served_model import ServedModel
from pulmospark.serve.service import Service

_OUTPUTS = ("probabilities", "logits", "distances")
ModelNamePath = Annotated[str, Path(max_length=limits.NAME_CHARS_MAX)]


def open_inference_routes(service: Service) -> APIRouter:
    """The protocol's routes."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])

    @router.get("")
    async def server() -> JSONResponse:
        """Name, version and extensions of the server."""
        return JSONResponse(
            {"name": "pulmospark", "version": pulmospark.__version__, "extensions": []}
        )

    @router.get("/health/live")
    async def live() -> JSONResponse:
        """Whether the process answers."""
        return JSONResponse({"live": True})

    @router.get("/health/ready")
    async def ready() -> JSONResponse:
        """Whether the model is open."""
        return JSONResponse({"ready": service.is_ready}, 200 if service.is_ready else 503)

    @router.get("/models/{model_name}")
    @router.get("/models/{model_name}/versions/{version}")
    async def metadata(model_name: ModelNamePath, version: str | None = None) -> JSONResponse:
        """The model's inputs and outputs."""
        return JSONResponse(_metadata(_model(service, model_name, version)))

    @router.get("/models/{model_name}/ready")
    @router.get("/models/{model_name}/versions/{version}/ready")
    async def model_ready(model_name: ModelNamePath, version: str | None = None) -> JSONResponse:
        """Whether the model is open."""
        model = _model(service, model_name, version)
        return JSONResponse({"name": model.facts.name, "ready": True})

    _add_infer(router, service)
    return router


def _add_infer(router: APIRouter, service: Service) -> None:
    @router.post("/models/{model_name}/infer")
    @router.post("/models/{model_name}/versions/{version}/infer")
    async def infer(
        request: Request, model_name: ModelNamePath, version: str | None = None
    ) -> JSONResponse:
        """Run the network on standard images."""
        model = _model(service, model_name, version)
        pixels, wanted, request_id = _read(await request.body(), model)
        answers = await asyncio.wrap_future(service.queue.submit_pixels(pixels, model))
        outputs = service.tensors(model, answers)
        await service.enter_tensors(request.state.request_id, model, len(pixels))
        request.state.audit = {"images": len(pixels), "model": model.facts.digest}
        return JSONResponse(
            {
                "model_name": model.facts.name,
                "model_version": _version(model),
                "id": request_id,
                "parameters": {"not_a_medical_device": pulmospark.NOT_A_MEDICAL_DEVICE},
                "outputs": [
                    {
                        "name": name,
                        "shape": list(values.shape),
                        "datatype": "FP64",
                        "data": values.ravel().tolist(),
                    }
                    for name, values in outputs.items()
                    if not wanted or name in wanted
                ],
            }
        )


def _version(model: ServedModel) -> str:
    return model.facts.digest[:12]


def _model(service: Service, name: str, version: str | None) -> ServedModel:
    model = service.model
    if name != model.facts.name or version not in {None, _version(model)}:
        raise ServiceError(
            404, f"no such model: this one is {model.facts.name}, version {_version(model)}"
        )
    return model


def _metadata(model: ServedModel) -> dict[str, Any]:
    size, count = model.scorer.engine.size, len(model.facts.classes)
    outputs = [("probabilities", [-1, count]), ("logits", [-1, count])]
    if model.facts.fence is not None:
        outputs.append(("distances", [-1]))
    return {
        "name": model.facts.name,
        "versions": [_version(model)],
        "platform": f"pulmospark_{model.scorer.engine.kind}",
        "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, size, size]}],
        "outputs": [{"name": name, "datatype": "FP64", "shape": shape} for name, shape in outputs],
    }


def _read(body: bytes, model: ServedModel) -> tuple[Pixels, list[str], str | None]:
    """Pixels, names of the wanted outputs (none: all), and the client's id of the request.

    Raises:
        ServiceError: 400, they are not as the protocol and the model have them.
    """
    try:
        value = json.loads(body)
        (tensor,) = value["inputs"]
        wanted = [str(output["name"]) for output in value.get("outputs") or ()]
        name, kind, shape = tensor["name"], tensor["datatype"], tensor["shape"]
        data = tensor["data"]
        request_id = value.get("id")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ServiceError(
            400, f"not a request of the Open Inference Protocol with one input: {error!s:.100}"
        ) from error
    size = model.scorer.engine.size
    if name != "pixels" or kind != "UINT8":
        raise ServiceError(400, "the model's input is 'pixels', UINT8")
    if unknown := set(wanted) - set(_OUTPUTS):
        raise ServiceError(400, f"no such output: {min(unknown)[:100]!a}")
    is_shape = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int for n in shape)
    if not is_shape or shape[1:] != [size, size] or not 1 <= shape[0] <= limits.ENGINE_BATCH_MAX:
        raise ServiceError(
            400, f"shape: must be [n, {size}, {size}], n from 1 to {limits.ENGINE_BATCH_MAX}"
        )
    try:
        values = np.asarray(data)
    except (ValueError, RecursionError) as error:
        raise ServiceError(400, "data: not an array of numbers") from error
    if values.dtype.kind not in "iu" or values.size != shape[0] * size * size:
        raise ServiceError(400, f"data: must be {shape[0] * size * size} whole numbers")
    if values.min() < 0 or values.max() > 255:
        raise ServiceError(400, "data: a grey level lies between 0 and 255")
    if request_id is not None and not (isinstance(request_id, str) and len(request_id) <= 200):
        raise ServiceError(400, "id: must be a text of at most 200 characters")
    return values.astype(np.uint8).reshape(shape), wanted, request_id
