"""A bundle on a table from elsewhere, in this process: its figures, its page, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import write_untrained
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.core import limits, schemas
from pulmospark.core.errors import InputError
from pulmospark.experiment.external import ExternalResult, evaluate_external

_SIDE = 64
_FINDINGS = ("covid", "normal", "pneumonia", "tuberculosis")
_CLASSES: dict[str, tuple[str, ...]] = {
    "COVID-19": ("covid",), "normal": ("normal",), "=pneumonia": ("pneumonia",)
}  # fmt: skip


def _write_table(
    folder: Path, images: int = 48, views: tuple[str, ...] = ("PA",), **ingested: Any
) -> Path:
    """Tables of images of noise; three a patient, and of every fifth none is known."""
    random = np.random.default_rng(5)
    rows = [
        {
            **dict.fromkeys(schemas.IMAGES.names),
            **{"image_id": f"{n:064x}", "uri": f"/images/{n:03}.png", "source": "ward"},
            **{"patient_id": None if n % 5 == 2 else f"ward:{n // 3 * 2}"},
            **{"finding": _FINDINGS[n % 4], "view": views[n % len(views)], "modality": "X-ray"},
            **{"view_measured": False, "format": "png", "size_bytes": 1, "modified_ns": 1},
            **{"height": _SIDE, "width": _SIDE, "phash": n},
            "pixels": random.integers(0, 256, _SIDE**2, dtype=np.uint8).tobytes(),
        }
        for n in range(images)
    ]
    (folder / "images").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, schema=schemas.IMAGES)
    pq.write_table(table, folder / "images" / "a.parquet", row_group_size=16)
    record = {"provenance": {"settings": {"fit": "stretch", **ingested}}}
    (folder / "ingest.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def _evaluate(
    root: Path,
    made_from: dict[str, Any] | None = None,
    *,
    classes: dict[str, tuple[str, ...]] = _CLASSES,
    **changes: Any,
) -> ExternalResult:
    return evaluate_external(
        write_untrained(root / "run" / "bundle", **(made_from or {})),
        root / "other" / "tables",
        root / "external",
        None,
        classes=classes,
        settings=EvaluateSettings(replicates=100),
        quiet=True,
        **changes,
    )


def test_the_page_says_what_the_record_does(tmp_path: Path) -> None:
    _write_table(tmp_path / "other" / "tables")
    told = _evaluate(tmp_path, recalibrate=5)
    assert told.inside is None
    assert told.recalibration is not None
    local = told.left_out["in the local sample"]
    assert told.outside.images + local == 36  # a quarter has a finding of no class
    record = json.loads((tmp_path / "external" / "external.json").read_text(encoding="utf-8"))
    assert record["result"]["outside"]["images"] == told.outside.images
    page = (tmp_path / "external" / "external.html").read_text(encoding="utf-8")
    assert "Not compared" in page
    assert f"{told.outside.accuracy.numerator} / {told.outside.images}" in page
    assert f"Recalibrated on {local} images" in page
    assert f"{told.recalibration.temperature:.3f} instead of 0.100" in page
    assert "No patient is known for" in page
    assert "Phantoms, not patients" not in page


def test_the_table_of_metrics_says_what_the_record_does(tmp_path: Path) -> None:
    _write_table(tmp_path / "other" / "tables")
    _evaluate(tmp_path, recalibrate=5)
    record = json.loads((tmp_path / "external" / "external.json").read_text(encoding="utf-8"))
    assert set(_accuracies(tmp_path)) == {"ward", "ward, recalibrated"}
    for run, name in (("ward", "outside"), ("ward, recalibrated", "recalibrated")):
        accuracy = record["result"][name]["accuracy"]
        row = _accuracies(tmp_path)[run]
        assert [row[key] for key in ("value", "low", "high")] == [
            accuracy[key] for key in ("value", "low", "high")
        ]
        assert row["n"] == record["result"][name]["images"]
        assert row["model_id"] == record["result"]["model_id"]
    _evaluate(tmp_path)
    assert set(_accuracies(tmp_path)) == {"ward"}


def _accuracies(root: Path) -> dict[str, dict[str, Any]]:
    """The rows of the accuracy of each run, as another reader of Delta tables has them."""
    table = deltalake.DeltaTable(root / "external" / "metrics").to_pyarrow_table()
    return {
        row["run"]: row
        for row in pa.table(table).to_pylist()
        if (row["metric"], row["subject"]) == ("accuracy", "model")
    }


def test_images_of_views_that_took_no_part_inside_take_none_outside(tmp_path: Path) -> None:
    _write_table(tmp_path / "other" / "tables", views=("PA", "unknown", "lateral"))
    told = _evaluate(tmp_path)  # an older bundle says nothing of views: frontal ones, and unknown
    assert told.left_out == {"view: lateral": 16, "finding of no class: tuberculosis": 8}
    assert told.outside.images == 24
    page = (tmp_path / "external" / "external.html").read_text(encoding="utf-8")
    assert "view: lateral" in page
    of_slices = _evaluate(tmp_path, {"views": ["axial", "lateral"]})
    assert of_slices.left_out["view: PA"] == of_slices.left_out["view: unknown"] == 16
    assert of_slices.outside.images == 12


def _of_class(told: ExternalResult) -> dict[str, int]:
    return {one.name: one.support for one in told.outside.by_class}


def test_a_mapping_of_one_class_leaves_the_others_called_as_they_are(tmp_path: Path) -> None:
    """12 images of each finding; the class called "=pneumonia" has no finding of its name."""
    _write_table(tmp_path / "other" / "tables")
    told = _evaluate(tmp_path, classes={"COVID-19": ("covid",)})
    assert _of_class(told) == {"COVID-19": 12, "normal": 12, "=pneumonia": 0}
    assert told.left_out == {
        "finding of no class: pneumonia": 12,
        "finding of no class: tuberculosis": 12,
    }
    # What a mapping claims is no longer called as it was; what it does not claim still is.
    told = _evaluate(tmp_path, classes={"COVID-19": ("normal", "covid")})
    assert _of_class(told) == {"COVID-19": 24, "normal": 0, "=pneumonia": 0}
    told = _evaluate(tmp_path, classes={"normal": ("tuberculosis",)})
    assert _of_class(told) == {"COVID-19": 0, "normal": 24, "=pneumonia": 0}
    page = (tmp_path / "external" / "external.html").read_text(encoding="utf-8")
    assert "finding of no class: covid" in page


def test_many_findings_of_no_class_are_named_by_frequency_and_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXCLUDED_FINDINGS_NAMED_MAX", 1)
    table = _write_table(tmp_path / "other" / "tables", images=50)  # 13 covid, 13 normal, 12, 12
    told = _evaluate(tmp_path, classes={"normal": ("normal",)})
    assert told.left_out == {
        "finding of no class: covid": 13,
        "finding of no class: 2 others": 24,
    }
    part = table / "images" / "a.parquet"
    rows = pq.read_table(part)
    nameless = rows.set_column(
        rows.column_names.index("finding"), "finding",
        pa.array([None if f == "covid" else f for f in rows["finding"].to_pylist()], pa.string()),
    )  # fmt: skip
    pq.write_table(nameless, part, row_group_size=16)
    told = _evaluate(tmp_path, classes={"normal": ("normal",)})
    assert told.left_out["no finding is known"] == 13


def test_a_table_without_a_view_of_the_bundle_is_refused(tmp_path: Path) -> None:
    _write_table(tmp_path / "other" / "tables", views=("axial",))
    with pytest.raises(
        InputError, match=r"48 for 'view: axial'.*views PA, AP, .*train on the others"
    ):
        _evaluate(tmp_path)


def test_images_of_a_run_on_phantoms_are_called_so(tmp_path: Path) -> None:
    _write_table(tmp_path / "other" / "tables")
    told = tmp_path / "other" / "experiment.json"
    told.write_text(json.dumps({"phantoms": True}), encoding="utf-8")
    _evaluate(tmp_path)
    page = (tmp_path / "external" / "external.html").read_text(encoding="utf-8")
    assert "Phantoms, not patients" in page


def test_slices_of_another_window_are_refused(tmp_path: Path) -> None:
    _write_table(tmp_path / "other" / "tables", ct_window="soft")
    with pytest.raises(InputError, match="windowed with 'soft', but the model expects 'lung'"):
        _evaluate(tmp_path)
