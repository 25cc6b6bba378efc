"""Batch jobs: only below allowed folders, the results of ``predict``, resumed after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from serve.serving import png, sent, serving

_WAIT_S = 120.0


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An allowed folder, with a link that leads out of it."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "ward").mkdir()
    for seed in range(6):
        (folder / "ward" / f"{seed}.png").write_bytes(png(seed))
    (folder / "ward" / "7.png").write_bytes(b"no image")
    (folder / "out").symlink_to("/etc")
    return folder


def _until(client: TestClient, job: str, is_met: Callable[[dict[str, Any]], bool]) -> Any:
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        state = client.get(f"/api/v1/jobs/{job}").json()
        if is_met(state):
            return state
        time.sleep(0.1)
    raise AssertionError(state)


def _added(client: TestClient, place: str) -> str:
    answer = client.post("/api/v1/jobs", json={"input": place, "name": "night\x1b shift"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize(
    "place", ["..", "../..", "/etc", "out", "out/passwd", "ward/../..", "none", "a\0b", "~", ""]
)
def test_inputs_elsewhere_are_refused(
    served_bundle: Path, inputs: Path, tmp_path: Path, place: str
) -> None:
    with serving(served_bundle, tmp_path, inputs=(inputs / "ward",)) as (client, _):
        answer = client.post("/api/v1/jobs", json={"input": f"../{place}" if place else ".."})
        assert answer.status_code == 403
        assert "passwd" not in answer.text


def test_without_a_folder_there_are_no_jobs(client: TestClient) -> None:
    assert client.post("/api/v1/jobs", json={"input": "ward"}).status_code == 403
    assert client.get("/api/v1/jobs").json() == {"jobs": []}
    assert client.get("/api/v1/jobs/" + "0" * 32).status_code == 404


def test_a_job_scores_a_folder_and_enters_the_worklist(
    served_bundle: Path, inputs: Path, tmp_path: Path
) -> None:
    with serving(served_bundle, tmp_path, inputs=(inputs,)) as (client, _):
        job = _added(client, "ward")
        state = _until(client, job, lambda state: state["status"] not in {"waiting", "running"})
        assert (state["status"], state["error"]) == ("done", None)
        assert (state["done"], state["total"]) == (7, 7)
        assert state["name"] == "night\\x1b shift"
        table = pq.read_table(tmp_path / "jobs" / job / "output" / "predictions").to_pylist()
        listed = client.get(f"/api/v1/results?source=job:{job}").json()["results"]
        by_name = {row["name"]: row for row in listed}
        assert len(listed) == 7
        for row in table:
            result = by_name[Path(row["uri"]).name]
            assert list(result["probabilities"].values()) == row["probability"]
            uploaded = sent(client, Path(row["uri"]).read_bytes())["results"][0]
            assert uploaded["probabilities"] == result["probabilities"]
        assert by_name["7.png"]["reject_reason"] == "not_an_image"
        assert client.delete(f"/api/v1/jobs/{job}").json()["status"] == "done"


def test_a_job_that_waits_can_be_cancelled(
    served_bundle: Path, inputs: Path, tmp_path: Path
) -> None:
    with serving(served_bundle, tmp_path, inputs=(inputs,)) as (client, _):
        first, second = _added(client, "ward"), _added(client, "ward")
        for job in (second, first):
            assert client.delete(f"/api/v1/jobs/{job}").json()["status"] == "cancelled"
        _until(client, first, lambda _: not (tmp_path / "jobs" / first).exists())
        assert client.get(f"/api/v1/results?source=job:{first}").json()["results"] == []


def test_a_job_goes_on_with_the_next_service(
    served_bundle: Path, inputs: Path, tmp_path: Path
) -> None:
    with serving(served_bundle, tmp_path, inputs=(inputs,)) as (client, _):
        job = _added(client, "ward")
        _until(client, job, lambda state: state["status"] == "running")
    with serving(served_bundle, tmp_path, inputs=(inputs,)) as (client, service):
        _until(client, job, lambda state: state["status"] == "done")
        lines = service.ledger.read().execute("SELECT key, images, rejects FROM requests")
        keys, images, rejects = zip(*lines, strict=True)
        # One for each part, of which there are as many as cores want.
        assert keys == tuple(f"job:{job}:{number}" for number in range(len(keys)))
        assert (sum(images), sum(rejects)) == (6, 1)


def test_a_job_that_cannot_run_says_why(served_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "empty").mkdir(parents=True)
    settings: dict[str, Any] = {"inputs": (tmp_path / "in",)}
    with serving(served_bundle, tmp_path / "state", **settings) as (client, _):
        job = _added(client, "empty")
        state = _until(client, job, lambda state: state["status"] not in {"waiting", "running"})
        assert state["status"] == "failed"
        assert "no image" in json.dumps(state["error"])
