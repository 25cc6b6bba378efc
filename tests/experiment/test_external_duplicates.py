"""Copies of training images in a set from elsewhere are found, counted and listed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import write_untrained
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.core import limits, schemas
from pulmospark.experiment.external import ExternalResult, copies_sentence, evaluate_external
from pulmospark.imaging.standardise import perceptual_hash

_SIDE = 64
_FINDINGS = ("COVID-19", "normal")


def _picture(seed: int) -> np.ndarray:
    """A picture like no other: noise without its finest grain."""
    noise = np.random.default_rng(seed).normal(0, 1, (_SIDE, _SIDE)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.asarray(cv2.normalize(soft, np.zeros(0), 0, 255, cv2.NORM_MINMAX), np.uint8)


def _copy(picture: np.ndarray) -> np.ndarray:
    """The picture as another set has it: a border cut off, sized back, darker."""
    cut = cv2.resize(picture[2:-2, 2:-2], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cut * 0.8 + 10, np.uint8)


def _row(
    number: int, pixels: np.ndarray, source: str, image_id: str | None = None
) -> dict[str, Any]:
    return {
        **dict.fromkeys(schemas.IMAGES.names),
        **{"image_id": image_id or f"{source}{number:060x}", "uri": f"/{source}/{number:03}.png"},
        **{"source": source, "patient_id": f"{source}:{number}", "view": "PA"},
        **{"finding": _FINDINGS[number % 2], "modality": "X-ray", "view_measured": False},
        **{"format": "png", "size_bytes": 1, "modified_ns": 1, "height": _SIDE, "width": _SIDE},
        **{"phash": perceptual_hash(pixels), "pixels": pixels.tobytes()},
    }


def _write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "images").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=schemas.IMAGES)
    pq.write_table(table, folder / "images" / "a.parquet", row_group_size=8)
    record = {"provenance": {"settings": {"fit": "stretch"}}}
    (folder / "ingest.json").write_text(json.dumps(record), encoding="utf-8")


def _run(root: Path, *, folds: bool = False, cohort_id: str = "c1") -> list[dict[str, Any]]:
    """A run of 20 images: 12 trained on, 3 validated on, 5 tested."""
    rows = [_row(n, _picture(n), "home") for n in range(20)]
    _write(root / "run" / "tables", rows)
    parts = ["train"] * 12 + ["validation"] * 3 + ["test"] * 5
    cohort = [
        {
            **dict.fromkeys(schemas.COHORT.names),
            **{name: row[name] for name in schemas.COHORT.names if name in row},
            **{"label": row["finding"], "group_id": row["patient_id"], "split": part},
            **({"fold": n % 2, "split": "train"} if folds else {}),
        }
        for n, (row, part) in enumerate(zip(rows, parts, strict=True))
    ]
    place = root / "run" / "cohort"
    (place / "table").mkdir(parents=True)
    pq.write_table(
        pa.Table.from_pylist(cohort, schema=schemas.COHORT), place / "table" / "a.parquet"
    )
    told = {
        "result": {
            **{"cohort": str(place), "cohort_id": cohort_id, "classes": _FINDINGS, "images": 20},
            **{"excluded": 0, "folds": 2 if folds else 0, "shares": [], "exclusions": []},
            "warnings": [],
        }
    }
    (place / "split.json").write_text(json.dumps(told), encoding="utf-8")
    return rows


def _elsewhere(root: Path, home: list[dict[str, Any]]) -> None:
    """30 images: an exact copy of one trained on, of one tested; near copies of three."""
    rows = [_row(n, _picture(1000 + n), "ward") for n in range(25)]
    pictures = [np.frombuffer(row["pixels"], np.uint8).reshape(_SIDE, _SIDE) for row in home]
    rows.append(_row(25, pictures[3], "ward", home[3]["image_id"]))
    rows.append(_row(26, pictures[16], "ward", home[16]["image_id"]))
    rows += [_row(27 + n, _copy(pictures[of]), "ward") for n, of in enumerate((0, 13, 18))]
    _write(root / "other" / "tables", rows)


def _evaluate(root: Path, **data: Any) -> ExternalResult:
    return evaluate_external(
        write_untrained(root / "run" / "bundle", **data),
        root / "other" / "tables",
        root / "external",
        None,
        classes={},
        settings=EvaluateSettings(replicates=100),
        quiet=True,
    )


@pytest.mark.parametrize(
    ("folds", "exact", "near"),
    [
        (False, {3: "exact"}, {0: "near", 13: "near"}),  # those of tested images are none
        (True, {3: "exact", 16: "exact"}, {0: "near", 13: "near", 18: "near"}),
    ],
)
def test_copies_of_what_was_trained_on_are_found_and_listed(
    tmp_path: Path, folds: bool, exact: dict[int, str], near: dict[int, str]
) -> None:
    _elsewhere(tmp_path, _run(tmp_path, folds=folds))
    told = _evaluate(tmp_path, cohort_id="c1")
    found = told.training_copies
    assert found is not None
    assert (found.assessable, found.why) == (True, "")
    assert (found.exact, found.near, found.training) == (
        len(exact),
        len(near),
        20 if folds else 15,
    )
    pairs = pq.read_table(tmp_path / "external" / "training_copies.parquet").to_pylist()
    assert {(p["training_uri"], p["kind"]) for p in pairs} == {
        (f"/home/{n:03}.png", kind) for n, kind in {**exact, **near}.items()
    }
    with (tmp_path / "external" / "training_copies.csv").open(encoding="utf-8") as text:
        listed = list(csv.DictReader(text))
    assert [one["uri"] for one in listed] == [pair["uri"] for pair in pairs]
    page = (tmp_path / "external" / "external.html").read_text(encoding="utf-8")
    copies = len(exact) + len(near)
    assert f"{len(exact)} exact and {len(near)} near copies of training images" in page
    assert f"too high by up to {copies / told.outside.images:.1%}" in page
    record = json.loads((tmp_path / "external" / "external.json").read_text(encoding="utf-8"))
    assert record["result"]["training_copies"]["exact"] == len(exact)


def test_a_bundle_without_its_run_cannot_say(tmp_path: Path) -> None:
    """Neither one that was moved, nor one whose run was split anew since."""
    _elsewhere(tmp_path, _run(tmp_path))
    told = _evaluate(tmp_path, cohort_id="another")
    assert told.training_copies is not None
    assert not told.training_copies.assessable
    assert "another split" in told.training_copies.why
    alone = evaluate_external(
        write_untrained(tmp_path / "moved" / "bundle", cohort_id="c1"),
        tmp_path / "other" / "tables", tmp_path / "out", None, classes={},
        settings=EvaluateSettings(replicates=100), quiet=True,
    )  # fmt: skip
    assert alone.training_copies is not None
    assert not alone.training_copies.assessable
    assert "is not around it" in alone.training_copies.why
    assert not (tmp_path / "out" / "training_copies.csv").exists()
    page = (tmp_path / "out" / "external.html").read_text(encoding="utf-8")
    assert "Whether the set contains copies of training images" in page
    assert copies_sentence(None, 5).endswith("not assessable: no search was made.")


def test_a_set_without_a_copy_is_said_to_have_none(tmp_path: Path) -> None:
    _run(tmp_path)
    _write(tmp_path / "other" / "tables", [_row(n, _picture(500 + n), "ward") for n in range(25)])
    told = _evaluate(tmp_path, cohort_id="c1")
    assert told.training_copies is not None
    assert told.training_copies.copies == 0
    said = copies_sentence(told.training_copies, 25)
    assert said == ("No copy of a training image among the 25 images, compared with 15 training "
                    "images.")  # fmt: skip


def test_a_search_that_was_cut_short_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXTERNAL_PAIRS_MAX", 1)
    _elsewhere(tmp_path, _run(tmp_path))
    found = _evaluate(tmp_path, cohort_id="c1").training_copies
    assert found is not None
    assert found.exact == 1
    assert found.near < 2
    assert "bits were compared, not 12" in found.why
    assert "The search is incomplete" in copies_sentence(found, 30)
