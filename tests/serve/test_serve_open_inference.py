"""The Open Inference Protocol: metadata, and the numbers of the engine."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from pulmospark.config.ingest import IngestSettings
from pulmospark.imaging.image import StandardImage, image_from_bytes
from serve.serving import png, sent

MODEL = "/v2/models/basic_cnn"


def _request(count: int = 3, **changes: Any) -> dict[str, Any]:
    images = [image_from_bytes(png(seed), IngestSettings(size=64)) for seed in range(count)]
    pixels = np.stack([image.pixels for image in images if isinstance(image, StandardImage)])
    tensor = {
        "name": "pixels",
        "datatype": "UINT8",
        "shape": list(pixels.shape),
        "data": pixels.ravel().tolist(),
        **changes,
    }
    return {"id": "7", "inputs": [tensor]}


def test_metadata_names_inputs_and_outputs(client: TestClient) -> None:
    assert client.get("/v2").json()["name"] == "pulmospark"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    meta = client.get(MODEL).json()
    assert meta["inputs"] == [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 64, 64]}]
    assert client.get(f"{MODEL}/ready").json() == {"name": "basic_cnn", "ready": True}
    assert client.get(f"{MODEL}/versions/{meta['versions'][0]}").json() == meta
    for other in ("/v2/models/other", f"{MODEL}/versions/1", "/v2/models/other/ready"):
        assert client.get(other).status_code == 404


@pytest.mark.parametrize("nested", [False, True])
def test_tensors_give_the_numbers_of_files(client: TestClient, nested: bool) -> None:
    request = _request()
    if nested:
        (tensor,) = request["inputs"]
        tensor["data"] = np.reshape(tensor["data"], tensor["shape"]).tolist()
    answer = client.post(f"{MODEL}/infer", json=request).json()
    assert (answer["model_name"], answer["id"]) == ("basic_cnn", "7")
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs.keys() == {"probabilities", "logits", "distances"}
    results = sent(client, *(png(seed) for seed in range(3)))["results"]
    expected = [list(result["probabilities"].values()) for result in results]
    assert np.reshape(outputs["probabilities"]["data"], (3, 3)).tolist() == expected
    # To the last digits: three at once are multiplied in another order than one.
    distances = [result["distance"] for result in results]
    assert outputs["distances"]["data"] == pytest.approx(distances, rel=1e-12)


def test_wanted_outputs_are_chosen(client: TestClient) -> None:
    request = {**_request(1), "outputs": [{"name": "logits"}]}
    answer = client.post(f"{MODEL}/infer", json=request).json()
    assert [output["name"] for output in answer["outputs"]] == ["logits"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        '{"inputs": []}',
        '{"inputs": [1]}',
        '{"inputs": 1}',
        "[" * 100_000,
        json.dumps(_request(1, name="image")),
        json.dumps(_request(1, datatype="FP32")),
        json.dumps(_request(1, shape=[1, 64])),
        json.dumps(_request(1, shape=[10**9, 64, 64])),
        json.dumps(_request(1, shape=[-1, 64, 64])),
        json.dumps(_request(1, shape=[True, 64, 64])),
        json.dumps(_request(1, shape=[2, 64, 64])),
        json.dumps(_request(1, data=[256] * 4096)),
        json.dumps(_request(1, data=[-1] * 4096)),
        json.dumps(_request(1, data=[0.5] * 4096)),
        json.dumps(_request(1, data=["1"] * 4096)),
        json.dumps(_request(1, data=[10**30] * 4096)),
        json.dumps(_request(1, data=[[1], [2, 3]])),
        json.dumps(_request(1, data={})),
        json.dumps({**_request(1), "id": 7}),
        json.dumps({**_request(1), "outputs": [{"name": "other"}]}),
        json.dumps({**_request(1), "outputs": [{}]}),
    ],
)
def test_bad_tensors_are_refused(client: TestClient, body: str) -> None:
    answer = client.post(f"{MODEL}/infer", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]
