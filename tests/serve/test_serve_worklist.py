"""The worklist: order, filters, pages, studies, images, deletion and room."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from pulmospark.imaging.dicom.reader import open_dicom
from serve.serving import png, sent, serving, zipped

_MANY = 12


@pytest.fixture(scope="module")
def listed(served_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(served_bundle, tmp_path_factory.mktemp("listed")) as (client, _):
        results = [sent(client, png(seed))["results"][0] for seed in range(_MANY)]
        results += sent(client, b"none")["results"]
        yield client, results


def _pages(client: TestClient, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = client.get(f"/api/v1/results?{query}&limit=5{cursor}").json()
        rows += page["results"]
        if page["next_cursor"] is None:
            assert page["total"] == len(rows)
            return rows
        cursor = f"&cursor={page['next_cursor']}"


def test_the_latest_come_first(listed: Any) -> None:
    client, results = listed
    assert [row["id"] for row in _pages(client, "")] == [row["id"] for row in results[::-1]]


@pytest.mark.parametrize("name", ["COVID-19", "normal"])
def test_the_most_probable_come_first(listed: Any, name: str) -> None:
    client, results = listed
    values = sorted((row["probabilities"][name] for row in results[:_MANY]), reverse=True)
    rows = _pages(client, f"sort=probability&class={name}")
    assert [row["probabilities"][name] for row in rows] == values


def test_filters_select(listed: Any) -> None:
    client, results = listed
    values = sorted(row["probabilities"]["COVID-19"] for row in results[:_MANY])
    low, high = values[3], values[8]
    rows = _pages(client, f"class=COVID-19&min={low!r}&max={high!r}")
    assert sorted(row["probabilities"]["COVID-19"] for row in rows) == values[3:9]
    assert len(_pages(client, "status=rejected")) == 1
    assert len(_pages(client, "source=rest")) == _MANY + 1
    assert _pages(client, "source=page") == []
    by_class = [len(_pages(client, f"prediction={name}")) for name in results[0]["probabilities"]]
    assert sum(by_class) >= _MANY - by_class[-1]


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=bnVsbA==",
        "cursor=W10=",
        "cursor=WzEsIDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ==",
        "limit=0",
        "limit=501",
        "min=nan",
        "min=2",
        "sort=name",
        "status=other",
    ],
)
def test_bad_queries_are_refused(listed: Any, query: str) -> None:
    answer = listed[0].get(f"/api/v1/results?{query}")
    assert answer.status_code in {400, 422}
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/api/v1/results/..%2f..%2fetc%2fpasswd", "/api/v1/results/x", "/api/v1/studies/'"]
)
def test_ids_that_are_none_are_refused(listed: Any, path: str) -> None:
    assert listed[0].get(path).status_code in {404, 422}


def test_a_study_has_its_slices_in_order(client: TestClient, shared_data: Path) -> None:
    folder = shared_data / "ct-dicom" / "CP" / "CP001"
    files = sorted(folder.glob("*.dcm"))
    archive = zipped({f"study/{file.name}": file.read_bytes() for file in files[::-1]})
    results = sent(client, archive)["results"]
    assert len(results) == len(files)
    assert {row["image"]["modality"] for row in results} == {"CT"}
    studies = {row["image"]["study"] for row in results}
    for study in studies - {None}:
        rows = client.get(f"/api/v1/studies/{study}").json()["results"]
        places = [row["image"]["slice_index"] for row in rows]
        assert places == sorted(places)
        assert len(rows) == sum(row["image"]["study"] == study for row in results)
    assert studies != {None}


def test_pixels_and_picture_are_the_image(client: TestClient, shared_data: Path) -> None:
    file = sorted((shared_data / "ct-dicom" / "CP" / "CP001").glob("*.dcm"))[0]
    (result,) = sent(client, file.read_bytes())["results"]
    place = f"/api/v1/results/{result['id']}"
    answer = client.get(f"{place}/pixels")
    shape = (int(answer.headers["x-rows"]), int(answer.headers["x-columns"]))
    samples = np.frombuffer(answer.content, "<u2").reshape(shape)
    hounsfield = samples * float(answer.headers["x-slope"]) + float(answer.headers["x-intercept"])
    assert hounsfield.min() >= -2048
    assert hounsfield.max() > 200
    shown = np.asarray(Image.open(io.BytesIO(client.get(f"{place}/image.png").content)))
    grey = open_dicom(file.read_bytes()).frame(0, "lung").grey
    assert np.abs(shown.astype(int) - grey).max() <= 1
    narrow = client.get(f"{place}/image.png?wl=0&ww=1").content
    black_and_white = np.asarray(Image.open(io.BytesIO(narrow)))
    assert np.array_equal(black_and_white > 127, hounsfield >= 0)
    for query in ("wl=nan", "ww=0", "ww=-1", "wl=inf"):
        assert client.get(f"{place}/image.png?{query}").status_code == 422


def test_a_heat_map_has_the_image_s_proportions(client: TestClient, shared_data: Path) -> None:
    file = sorted((shared_data / "covid-chestxray-dataset" / "images").glob("*.jpeg"))[0]
    (result,) = sent(client, file.read_bytes(), query="?heatmap=true")["results"]
    heat = Image.open(io.BytesIO(client.get(result["heatmap"]["url"]).content))
    image = result["image"]
    assert heat.mode == "RGBA"
    assert heat.width / heat.height == pytest.approx(image["columns"] / image["rows"], rel=0.02)
    assert result["heatmap"]["class"] == result["prediction"]
    overlay = client.get(f"/api/v1/results/{result['id']}/overlay.png")
    assert Image.open(io.BytesIO(overlay.content)).width > 100


def test_what_is_deleted_is_gone(served_bundle: Path, tmp_path: Path) -> None:
    with serving(served_bundle, tmp_path) as (client, service):
        (first,) = sent(client, png(1), query="?heatmap=true")["results"]
        (second,) = sent(client, png(1))["results"]
        place = f"/api/v1/results/{first['id']}"
        assert client.delete(place).status_code == 204
        assert client.get(place).status_code == client.delete(place).status_code == 404
        assert list(service.heat.ids()) == []
        other = f"/api/v1/results/{second['id']}"
        assert client.get(f"{other}/image.png").status_code == 200  # the same image
        client.delete(other)
        assert list(service.images.ids()) == []
        (count,) = service.ledger.read().execute("SELECT COUNT(*) FROM requests").fetchone()
        assert count == 2


def test_the_oldest_make_room(served_bundle: Path, tmp_path: Path) -> None:
    size = len(png(0))
    room: dict[str, Any] = {"results_kept": 5, "stored_bytes": 3 * size + size // 2}
    with serving(served_bundle, tmp_path, **room) as (client, service):
        ids = [sent(client, png(seed))["results"][0]["id"] for seed in range(80)]
        page = client.get("/api/v1/results").json()
        assert page["total"] <= 5 + 64
        asyncio.run(service.trim())
        page = client.get("/api/v1/results").json()
        assert [row["id"] for row in page["results"]] == ids[:-6:-1]
        assert len(list(service.images.ids())) == 3
        assert client.get(f"/api/v1/results/{ids[-5]}/image.png").status_code == 410
        assert client.get(f"/api/v1/results/{ids[-1]}/image.png").status_code == 200
