"""The model is exchanged while requests are answered: none is lost, and none is mixed."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from bundles import write_untrained
from pulmospark.serve.engines import WorkerEngine
from pulmospark.serve.tokens import Tokens
from serve.serving import png, sent, serving

_TOKEN = "c" * 32
_THREADS = 3


def test_no_request_is_lost_while_models_change(tmp_path: Path) -> None:
    folders = {
        name: write_untrained(tmp_path / "all" / name, seed) for seed, name in enumerate("ab")
    }
    admins = Tokens({"root": hashlib.sha256(_TOKEN.encode()).digest()})
    expected: dict[str, Any] = {}
    for name, folder in folders.items():
        with serving(folder, tmp_path / f"state-{name}") as (client, service):
            (result,) = sent(client, png(1))["results"]
            expected[service.model.facts.digest] = result["probabilities"]
    settings: dict[str, Any] = {"admins": admins, "bundles": tmp_path / "all"}
    with serving(folders["a"], tmp_path / "state", **settings) as (client, service):
        stop = threading.Event()
        answers: list[Any] = []

        def send() -> None:
            own = TestClient(client.app, base_url="http://127.0.0.1:8000")
            while not stop.is_set():
                answers.append(sent(own, png(1), query="?store=false"))

        threads = [threading.Thread(target=send) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        admin = {"Authorization": f"Bearer {_TOKEN}"}
        for name in "bababa":
            answer = client.put("/api/v1/model", json={"name": name}, headers=admin)
            assert answer.status_code == 200
        stop.set()
        for thread in threads:
            thread.join()
        digests = [answer["model"]["digest"] for answer in answers]
        assert set(digests) == set(expected)
        for answer in answers:
            (result,) = answer["results"]
            assert result["probabilities"] == expected[answer["model"]["digest"]]
            assert result["model"] == answer["model"]
        (lines,) = service.ledger.read().execute("SELECT COUNT(*) FROM requests").fetchone()
        assert lines == len(answers)


def test_a_bad_bundle_leaves_the_earlier_model(served_bundle: Path, tmp_path: Path) -> None:
    admins = Tokens({"root": hashlib.sha256(_TOKEN.encode()).digest()})
    (tmp_path / "all" / "bad").mkdir(parents=True)
    settings: dict[str, Any] = {"admins": admins, "bundles": tmp_path / "all"}
    with serving(served_bundle, tmp_path / "state", **settings) as (client, service):
        before = service.model
        admin = {"Authorization": f"Bearer {_TOKEN}"}
        answer = client.put("/api/v1/model", json={"name": "bad"}, headers=admin)
        assert answer.status_code == 422
        assert "the earlier model stays" in answer.json()["error"]["message"]
        assert service.model is before
        assert sent(client, png(1))["results"][0]["status"] == "scored"


def test_a_leftover_image_runs_alone(served_bundle: Path, tmp_path: Path) -> None:
    with serving(served_bundle, tmp_path) as (_, service):
        (engine, *_) = service.model.engines
        assert isinstance(engine, WorkerEngine)
        assert engine.runs_single_images
