"""Uploads: the numbers are batch scoring's, each file is answered, and each request is entered."""

from __future__ import annotations

import errno
import sqlite3
import zipfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from pulmospark.config.inference import ScoringSettings
from pulmospark.core import serve_limits
from pulmospark.core.hashing import bytes_id
from pulmospark.inference.batch.predict import plan_predict
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.serve.served_model import float32_scorer
from serve.serving import png, sent, serving, zipped


def test_the_numbers_are_those_of_batch_scoring(
    client: TestClient, served_bundle: Path, shared_data: Path, tmp_path: Path
) -> None:
    files = [
        *sorted((shared_data / "nih-chest-xray14" / "images").glob("*.png"))[:5],
        *sorted((shared_data / "dicom-cxr").glob("*.dcm")),
        *sorted((shared_data / "ct-dicom").rglob("*.dcm"))[:4],
    ]
    plan = plan_predict(
        served_bundle,
        [str(file) for file in files],
        tmp_path / "out",
        settings=ScoringSettings(precision="fp32"),
    )
    prepared = float32_scorer(read_bundle(served_bundle), tmp_path / "engines")
    replace(plan, prepared=prepared).run(None, quiet=True)
    batch = {
        Path(row["uri"]).name: row
        for table in ("predictions", "rejects")
        for row in pq.read_table(tmp_path / "out" / table).to_pylist()
    }
    form = [("files", (file.name, file.read_bytes())) for file in files]
    results = client.post("/api/v1/predict", files=form).json()["results"]
    assert [result["name"] for result in results] == [file.name for file in files]
    assert {result["status"] for result in results} == {"scored", "rejected"}
    for result in results:
        row = batch[result["name"]]
        if result["status"] == "rejected":
            assert (result["reject_reason"], result["reject_detail"]) == (
                row["reason"],
                row["detail"],
            )
            continue
        assert list(result["probabilities"].values()) == row["probability"]
        assert result["prediction"] == row["prediction"]
        assert result["distance"] == row["distance"]
        assert [caution["code"] for caution in result["cautions"]] == row["cautions"]


def test_each_file_is_answered_in_order(client: TestClient) -> None:
    archive = zipped({"a/1.png": png(1), "a/2.txt": b"no image"}, zipfile.ZIP_DEFLATED)
    results = sent(client, png(3), archive, b"", png(4))["results"]
    assert [result["status"] for result in results] == [
        "scored",
        "scored",
        "rejected",
        "rejected",
        "scored",
    ]
    assert [result["name"] for result in results] == [
        "image-0.png",
        "a/1.png",
        "a/2.txt",
        "image-2.png",
        "image-3.png",
    ]
    assert [result["reject_reason"] for result in results if result["reject_reason"]] == [
        "not_an_image",
        "empty",
    ]


def test_a_decision_and_an_abstention_are_told(client: TestClient) -> None:
    (result,) = sent(client, png(5))["results"]
    (decision,) = result["decisions"]
    probability = result["probabilities"]["COVID-19"]
    assert decision["positive"] == (probability >= decision["threshold"] == 0.3)
    is_unlike = "unlike_training_images" in [caution["code"] for caution in result["cautions"]]
    assert result["abstained"] == is_unlike


def test_a_request_sent_again_with_its_key_is_entered_once(
    served_bundle: Path, tmp_path: Path
) -> None:
    with serving(served_bundle, tmp_path) as (client, service):
        first = sent(client, png(1), png(2), **{"Idempotency-Key": "k"})
        again = sent(client, png(1), png(2), **{"Idempotency-Key": "k"})
        assert again["results"] == first["results"]
        other = client.post(
            "/api/v1/predict", files={"files": png(3)}, headers={"Idempotency-Key": "k"}
        )
        assert other.status_code == 422
        rows = service.ledger.read().execute("SELECT images, rejects FROM requests").fetchall()
        assert [tuple(row) for row in rows] == [(2, 0)]


def _execute(connection: sqlite3.Connection, text: str) -> None:
    connection.execute(text)


def test_no_line_of_the_ledger_can_be_changed(served_bundle: Path, tmp_path: Path) -> None:
    with serving(served_bundle, tmp_path) as (client, service):
        sent(client, png(1))
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            service.ledger.write(lambda base: base.execute("DELETE FROM requests")).result()
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            service.ledger.write(lambda base: base.execute("UPDATE requests SET at = 0")).result()
        (count,) = service.ledger.read().execute("SELECT SUM(images) FROM requests").fetchone()
        assert count == 1


def test_nothing_is_kept_that_is_not_to_be_stored(served_bundle: Path, tmp_path: Path) -> None:
    with serving(served_bundle, tmp_path) as (client, service):
        (result,) = sent(client, png(1), query="?store=false&heatmap=true")["results"]
        assert result["image"]["stored"] is False
        assert result["heatmap"]["url"].startswith("data:image/png;base64,")
        assert list(service.images.ids()) == list(service.heat.ids()) == []
        assert client.get(f"/api/v1/results/{result['id']}/image.png").status_code == 410
        sent(client, png(1))
        assert list(service.images.ids()) == [bytes_id(png(1))]


def test_requests_wait_for_the_model(tmp_path: Path) -> None:
    with serving(None, tmp_path) as (client, _):
        answer = client.post("/api/v1/predict", files={"files": png(1)})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"--x\r\nnot a form", "multipart/form-data; boundary=x", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 400),
        (b"", "multipart/form-data", 400),
        (b"{}", "application/json", 415),
        (b"", "", 415),
    ],
)
def test_what_is_no_form_is_refused(
    client: TestClient, body: bytes, kind: str, status: int
) -> None:
    answer = client.post("/api/v1/predict", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_requests_beyond_the_room_are_to_come_back(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_limits, "SERVE_REQUESTS_MAX", 0)
    answer = client.post("/api/v1/predict", files={"files": png(1)})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_files_wait_for_room(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_limits, "SERVE_QUEUE_BYTES_MAX", 1)
    results = sent(client, *(png(seed) for seed in range(30)))["results"]
    assert len(results) == 30


def test_there_are_limits_on_files_and_archives(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_limits, "SERVE_FILES_MAX", 3)
    form = [("files", (f"{n}.png", png(n))) for n in range(4)]
    assert client.post("/api/v1/predict", files=form).status_code == 400
    many = zipped({f"{n}.png": png(n) for n in range(4)})
    (result,) = sent(client, many)["results"]
    assert (result["reject_reason"], result["image"]) == ("unreadable", None)
    monkeypatch.setattr(serve_limits, "SERVE_UNPACKED_BYTES_MAX", 2 * len(png(0)))
    statuses = [
        row["status"] for row in sent(client, zipped({"a": png(0), "b": bytes(10**6)}))["results"]
    ]
    assert statuses == ["scored", "rejected"]


def test_files_of_unanswered_requests_are_removed(served_bundle: Path, tmp_path: Path) -> None:
    with serving(served_bundle, tmp_path) as (client, service):
        (result,) = sent(client, png(1), query="?heatmap=true")["results"]
        service.images.put(bytes_id(png(2)), png(2))
        service.heat.put("0" * 32, b"map")
        (tmp_path / "images" / "00").mkdir()
        (tmp_path / "images" / "00" / ".1234.part").write_bytes(b"half")
    with serving(served_bundle, tmp_path) as (client, service):
        assert list(service.images.ids()) == [bytes_id(png(1))]
        assert list(service.heat.ids()) == [result["id"]]
        assert not (tmp_path / "images" / "00" / ".1234.part").exists()


def test_a_full_disk_is_said_and_nothing_is_entered(
    served_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving(served_bundle, tmp_path) as (client, service):
        monkeypatch.setattr(Path, "write_bytes", full)
        answer = client.post("/api/v1/predict", files={"files": png(1)})
        assert answer.status_code == 507
        assert "disk is full" in answer.json()["error"]["message"]
        (count,) = service.ledger.read().execute("SELECT COUNT(*) FROM requests").fetchone()
        assert count == 0
