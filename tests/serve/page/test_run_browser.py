"""The run browser: which predictions, in which order, next to which training images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pulmospark.core import limits
from pulmospark.core.errors import PulmosparkError
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.serve.errors import on_service_error
from pulmospark.serve.nearest_images import nearest_images
from pulmospark.serve.routes.runs import run_routes
from serve.page.run_folders import CLASSES, SIDE, write_run

if TYPE_CHECKING:
    from conftest import FinishedRun


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "runs" / "first")


@pytest.fixture
def client(run: RunFolder) -> TestClient:
    return _client(run.root.parent)


def _client(runs: Path | None) -> TestClient:
    app = FastAPI()
    app.include_router(run_routes(runs))
    app.add_exception_handler(PulmosparkError, on_service_error)
    return TestClient(app, raise_server_exceptions=False)


def test_lists_runs_with_their_errors(client: TestClient, run: RunFolder) -> None:
    (summary,) = client.get("/api/v1/runs").json()["runs"]
    rows = pq.read_table(run.evaluation / "predictions").to_pylist()
    errors = sum(row["prediction"] != row["label"] for row in rows)
    assert (summary["name"], summary["images"], summary["errors"]) == ("first", 30, errors)
    assert summary["accuracy"]["value"] == pytest.approx(1 - errors / 30)


def test_errors_come_first_the_most_certain_at_the_top(client: TestClient) -> None:
    page = client.get("/api/v1/runs/first/predictions").json()
    shown = page["predictions"]
    assert page["total"] == len(shown) == 30
    correct = [row["correct"] for row in shown]
    assert correct == sorted(correct)
    wrong = [max(row["probabilities"].values()) for row in shown if not row["correct"]]
    right = [max(row["probabilities"].values()) for row in shown if row["correct"]]
    assert wrong == sorted(wrong, reverse=True)
    assert right == sorted(right)


def test_filters_are_those_of_the_table(client: TestClient, run: RunFolder) -> None:
    rows = pq.read_table(run.evaluation / "predictions").to_pylist()
    name, place = CLASSES[1], 1
    asked = {
        "outcome": "errors", "label": name, "source": "birch", "probability_of": name,
        "min": 0.1, "max": 0.6, "order": "probability",
    }  # fmt: skip
    expected = [
        row
        for row in rows
        if row["prediction"] != row["label"] == name
        and row["source"] == "birch"
        and 0.1 <= row["probability"][place] <= 0.6
    ]
    expected.sort(key=lambda row: -row["probability"][place])
    answer = client.get("/api/v1/runs/first/predictions", params=asked).json()
    assert expected
    assert [row["image_id"] for row in answer["predictions"]] == [
        row["image_id"] for row in expected
    ]


def test_pages_follow_each_other(client: TestClient) -> None:
    whole = client.get("/api/v1/runs/first/predictions").json()["predictions"]
    parts: list[object] = []
    cursor: int | None = 0
    while cursor is not None:
        page = client.get(f"/api/v1/runs/first/predictions?limit=7&cursor={cursor}").json()
        parts += page["predictions"]
        cursor = page["next_cursor"]
    assert parts == whole


def test_an_image_is_the_tables(client: TestClient, run: RunFolder) -> None:
    import cv2

    row = pq.read_table(run.tables / "images").slice(11, 1).to_pylist()[0]
    answer = client.get(f"/api/v1/runs/first/images/{row['image_id']}.png")
    pixels = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    assert pixels.tobytes() == row["pixels"]
    assert pixels.shape == (SIDE, SIDE)


def test_the_nearest_are_training_images_and_a_copy_comes_first(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "first")
    images = pq.read_table(run.tables / "images")
    pixels = images["pixels"].to_pylist()
    pixels[0] = pixels[33]  # an image of the test split is a copy of a training image
    copied = images.set_column(images.schema.get_field_index("pixels"), "pixels", [pixels])
    pq.write_table(copied, run.tables / "images" / "part-0.parquet")
    client = _client(tmp_path / "runs")
    answer = client.get(f"/api/v1/runs/first/predictions/{0:064x}/nearest?limit=5").json()
    assert answer["searched"] == answer["of"] == 40
    first, *others = answer["neighbours"]
    assert first["image_id"] == f"{33:064x}"
    assert first["similarity"] == pytest.approx(1, abs=1e-5)
    assert all(int(image["image_id"], 16) >= 30 for image in others)
    assert [image["similarity"] for image in others] == sorted(
        (image["similarity"] for image in others), reverse=True
    )


def test_similarity_is_the_correlation_of_small_images(run: RunFolder) -> None:
    from PIL import Image

    search = nearest_images(run, None)
    table = pq.read_table(run.tables / "images")
    image = np.frombuffer(table["pixels"][2].as_py(), np.uint8).reshape(SIDE, SIDE)
    (row, similarity), *_ = search.nearest(image, 1)
    uris = table["uri"].to_pylist()
    other = table["pixels"][uris.index(search.rows["uri"][row].as_py())].as_py()
    small = [
        np.asarray(
            Image.fromarray(pixels.astype(np.float32)).resize((32, 32), Image.Resampling.BOX)
        ).ravel()
        for pixels in (image, np.frombuffer(other, np.uint8).reshape(SIDE, SIDE))
    ]
    # OpenCV rounds the small image to whole grey levels; Pillow keeps fractions here.
    assert similarity == pytest.approx(np.corrcoef(small[0], small[1])[0, 1], abs=5e-3)


def test_with_folds_the_models_own_training_images_are_searched(tmp_path: Path) -> None:
    run = write_run(tmp_path / "runs" / "folded", folds=4)
    client = _client(tmp_path / "runs")
    answer = client.get(f"/api/v1/runs/folded/predictions/{5:064x}/nearest?limit=24").json()
    folds = pq.read_table(run.cohort / "table")["fold"].to_pylist()
    assert answer["of"] == sum(fold != 5 % 4 for fold in folds)
    assert all(int(image["image_id"], 16) % 4 != 5 % 4 for image in answer["neighbours"])


def test_of_many_training_images_every_nth_is_searched(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "NEAREST_IMAGES_MAX", 15)
    answer = client.get(f"/api/v1/runs/first/predictions/{0:064x}/nearest").json()
    assert (answer["searched"], answer["of"]) == (14, 40)


@pytest.mark.parametrize(
    "name", ["second", "..", "../runs/first", "%2e%2e", "first/../first", "first\0", "/etc"]
)
def test_a_name_from_outside_is_no_path(client: TestClient, name: str) -> None:
    from urllib.parse import quote

    for place in (quote(name, safe=""), quote(quote(name, safe=""), safe="")):
        assert client.get(f"/api/v1/runs/{place}").status_code in {404, 422}
        assert client.get(f"/api/v1/runs/{place}/predictions").status_code in {404, 422}
    assert client.get(f"/api/v1/runs/first/images/{quote(name, safe='')}.png").status_code == 404


def test_a_damaged_run_is_listed_with_its_problem(client: TestClient, run: RunFolder) -> None:
    broken = run.root.parent / "broken" / "evaluation"
    broken.mkdir(parents=True)
    (broken / "evaluation.json").write_text('{"evaluation": {"classes": 3}}')
    broken, first = client.get("/api/v1/runs").json()["runs"]
    assert "damaged: run `pulmospark evaluate` again" in broken["problem"]
    assert first["problem"] is None
    answer = client.get("/api/v1/runs/broken/predictions")
    assert answer.status_code == 500
    assert "damaged" in answer.json()["error"]["message"]


def test_predictions_of_other_classes_are_refused(client: TestClient) -> None:
    answer = client.get("/api/v1/runs/first/predictions?probability_of=none")
    assert answer.status_code == 422
    assert "'none' is not a class of the run" in answer.json()["error"]["message"]


def test_too_many_predictions_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BROWSED_ROWS_MAX", 29)
    answer = client.get("/api/v1/runs/first/predictions")
    assert "30 predictions, and the run browser shows at most 29" in answer.text


def test_a_run_that_is_evaluated_again_is_read_again(client: TestClient, run: RunFolder) -> None:
    assert client.get("/api/v1/runs/first/predictions").json()["total"] == 30
    part = run.evaluation / "predictions" / "part-0.parquet"
    pq.write_table(pq.read_table(part).slice(0, 20), part)
    (run.evaluation / "evaluation.json").write_bytes(
        (run.evaluation / "evaluation.json").read_bytes() + b"\n"
    )
    assert client.get("/api/v1/runs/first/predictions").json()["total"] == 20


def test_browses_a_run_that_was_really_made(finished_run: FinishedRun) -> None:
    folder = finished_run.folder.root
    client, place = _client(folder.parent), f"/api/v1/runs/{folder.name}"
    answer = client.get(place).json()
    assert answer["phantoms"]
    report = finished_run.result.audit
    assert report is not None
    verdicts = [audit.verdict for audit in report.audits]
    assert [audit["verdict"] for audit in answer["audits"]] == verdicts
    (first, *_) = client.get(f"{place}/predictions?outcome=errors").json()["predictions"]
    assert client.get(f"{place}/images/{first['image_id']}.png").status_code == 200
    near = client.get(f"{place}/predictions/{first['image_id']}/nearest").json()
    assert len(near["neighbours"]) == 4
    assert all(image["similarity"] < 1 for image in near["neighbours"])


def test_without_a_folder_the_list_says_so() -> None:
    assert _client(None).get("/api/v1/runs").json() == {"runs": [], "has_folder": False}
    assert _client(None).get("/api/v1/runs/first").status_code == 404
