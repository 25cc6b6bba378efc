"""Predictions in this process and on Spark: every file a row, the same figures, safe CSV."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn
from pyspark.sql import SparkSession

from imaging import dicoms
from pulmospark.chunks import write_part
from pulmospark.chunks.task import write_parts
from pulmospark.chunks.work_folder import DiskFolder
from pulmospark.config.inference import ScoringSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.core import limits, machine, schemas
from pulmospark.core.csv_files import safe_cell
from pulmospark.core.errors import BundleError, InputError, UsageError
from pulmospark.core.provenance import now_utc
from pulmospark.data.ingest.ingest import ingest
from pulmospark.evaluation.calibration import apply_temperature
from pulmospark.inference.batch.dry_run import dry_run
from pulmospark.inference.batch.inputs import IMAGE_COLUMNS, resolve_inputs
from pulmospark.inference.batch.list_inputs import list_inputs
from pulmospark.inference.batch.predict import plan_predict, predict
from pulmospark.inference.batch.tasks import FilesWork, Scorer
from pulmospark.inference.batch.work_place import PARTS, work_of
from pulmospark.inference.engine.bundle_engine import bundle_engine
from pulmospark.inference.engine.softmax import softmax
from pulmospark.layouts.base import ListingNotes
from pulmospark.models.bundle.bundle import read_bundle


@given(
    drawn.arrays(np.float64, (3, 4), elements=st.floats(-1e4, 1e4)),
    st.floats(0.05, 1e4),
)
def test_the_workers_softmax_is_the_evaluations(logits: np.ndarray, temperature: float) -> None:
    assert softmax(logits, temperature) == pytest.approx(
        apply_temperature(logits, temperature), abs=1e-12
    )


def test_one_image_needs_no_spark_and_no_folder(bundle: Path, images: Path) -> None:
    result = predict(bundle, [str(images / "a.png")], None, None, quiet=True)
    image = result.image
    assert image is not None
    assert (result.folder, result.images, result.rejects) == (None, 1, 0)
    assert list(image.probabilities) == ["COVID-19", "normal", "=pneumonia"]
    assert sum(image.probabilities.values()) == pytest.approx(1)
    assert image.prediction == max(image.probabilities, key=lambda name: image.probabilities[name])
    assert image.decisions[0].positive == (image.probabilities["COVID-19"] >= 0.3)


@pytest.mark.parametrize(("share", "positive"), [(0.0, True), (1.0, False), (None, True)])
def test_the_threshold_given_is_the_one_used(
    bundle: Path, images: Path, share: float | None, positive: bool
) -> None:
    path = [str(images / "a.png")]
    image = predict(bundle, path, None, None, quiet=True).image
    assert image is not None
    # At the threshold itself an image counts as positive.
    threshold = image.probabilities["COVID-19"] if share is None else share
    image = predict(bundle, path, None, None, threshold=threshold, quiet=True).image
    assert image is not None
    assert (image.decisions[0].threshold, image.decisions[0].positive) == (threshold, positive)


def test_one_image_that_cannot_be_read_says_why(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"d\.png: not_an_image: "):
        predict(bundle, [str(images / "d.png")], None, None, quiet=True)
    result = predict(bundle, [str(images / "d.png")], tmp_path / "out", None, quiet=True)
    assert (result.images, result.rejects, result.image) == (0, 1, None)
    assert pq.read_table(tmp_path / "out" / "rejects").num_rows == 1


def test_a_lateral_image_and_a_slice_are_cautioned(bundle: Path, shared_data: Path) -> None:
    a_slice = next((shared_data / "CC-CCII-layout").rglob("*.jpg"))
    image = predict(bundle, [str(a_slice)], None, None, quiet=True).image
    assert image is not None
    assert image.cautions == ("not a view that the model was trained on (guessed from pixels)",)
    frontal = sorted((shared_data / "nih-chest-xray14" / "images").iterdir())[0]
    image = predict(bundle, [str(frontal)], None, None, quiet=True).image
    assert image is not None
    assert image.cautions == ()


def test_many_images_without_spark_are_all_rows_in_tables_and_csv(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = predict(bundle, [str(images)], out, None, quiet=True)
    assert (result.files, result.images, result.rejects) == (4, 3, 1)
    assert result.rejects_by_reason == {"not_an_image": 1}
    assert sum(result.predictions.values()) == 3
    rows = pq.read_table(out / "predictions")
    assert rows.schema.equals(schemas.PREDICTIONS)
    assert pq.read_table(out / "rejects").schema.equals(schemas.REJECTS)
    logits = np.asarray(rows["logits"].to_pylist())
    assert np.asarray(rows["probability"].to_pylist()) == pytest.approx(
        apply_temperature(logits, read_bundle(bundle).config.temperature)
    )
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        sheet = list(csv.DictReader(file))
    for line, row in zip(sheet, rows.to_pylist(), strict=True):
        assert line["uri"] == row["uri"]
        # A class whose name begins as a formula does: an apostrophe in front, in the CSV alone.
        assert line["prediction"] == safe_cell(row["prediction"])
        assert float(line["probability_=pneumonia"]) == pytest.approx(
            row["probability"][2], abs=1e-6
        )
        assert line["decision_COVID-19"] == (
            "positive" if row["probability"][0] >= 0.3 else "negative"
        )
    record = json.loads((out / "predict.json").read_text(encoding="utf-8"))
    assert record["result"]["images"] == 3
    assert record["provenance"]["settings"]["model_id"] == read_bundle(bundle).model_id
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_dry_run_counts_what_an_interrupted_run_has_scored(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan = plan_predict(bundle, [str(images)], out)
    assert (dry_run(plan, quiet=True).files, dry_run(plan, quiet=True).already) == (4, 0)
    assert not list(tmp_path.iterdir())
    # Its chunk, as a task leaves it: three scored, one rejected.
    list_inputs(plan.inputs, tmp_path / "m.parquet", ListingNotes())
    rows = pq.read_table(tmp_path / "m.parquet")
    parts = work_of(out) / PARTS
    parts.mkdir(parents=True)
    config = plan.bundle.config
    engine = bundle_engine(plan.bundle, tmp_path / "engines")
    for model_id, already in (("another", 0), (plan.bundle.model_id, 4)):
        scorer = Scorer(engine, config.classes, config.temperature, model_id, now_utc())
        work = FilesWork(scorer, IngestSettings(size=64))
        write_parts(DiskFolder(str(parts), str(parts)), work.key(rows), partial(work, rows))
        assert dry_run(plan, quiet=True).already == already
    predict(bundle, [str(images)], out, None, quiet=True)
    planned = dry_run(plan_predict(bundle, [str(images)], out), quiet=True)
    assert (planned.already, planned.replaces) == (0, True)


def test_an_earlier_prediction_is_replaced_and_nothing_else_is(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    image = [str(images / "a.png")]
    predict(bundle, [str(images)], out, None, quiet=True)
    predict(bundle, image, out, None, quiet=True)
    assert pq.read_table(out / "predictions").num_rows == 1
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work", encoding="utf-8")
    for target in (mine, mine / "thesis.txt"):
        with pytest.raises(UsageError, match="not a prediction output folder"):
            predict(bundle, image, target, None, quiet=True)
    assert (mine / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_after_an_error_the_earlier_prediction_stands(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    predict(bundle, [str(images)], out, None, quiet=True)
    empty.mkdir()
    with pytest.raises(InputError, match="no image file"):
        predict(bundle, [str(empty)], out, None, quiet=True)
    assert pq.read_table(out / "predictions").num_rows == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "out"]


def test_wrong_calls_are_refused_before_anything_is_read(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--out is missing"):
        plan_predict(bundle, [str(images)], None)
    with pytest.raises(UsageError, match=r"threshold 1\.5"):
        plan_predict(bundle, [str(images / "a.png")], None, threshold=1.5)
    with pytest.raises(BundleError, match="no such folder"):
        plan_predict(tmp_path / "none", [str(images)], tmp_path / "out")
    broken = shutil.copytree(bundle, tmp_path / "bundle")
    text = (broken / "config.json").read_text(encoding="utf-8")
    (broken / "config.json").write_text(text.replace("0.3", "0.4"), encoding="utf-8")
    with pytest.raises(BundleError, match=r"config\.json"):
        plan_predict(broken, [str(images)], tmp_path / "out")


def _volume() -> bytes:
    """A CT of three slices in one file."""
    slices = np.stack([dicoms.values(number) for number in range(3)])
    made = dicoms.dataset(slices, Modality="CT", NumberOfFrames=3, RescaleIntercept="-1024")
    return dicoms.file_of(made, slices)


def _images_table(folder: Path, uris: list[str]) -> Path:
    """An images table of images of 64 x 64, as ``ingest`` writes it."""
    schema = pa.schema([schemas.IMAGES.field(name) for name in IMAGE_COLUMNS])
    rows = [
        {"image_id": f"{number:064x}", "uri": uri, "source": "s", "view": "axial",
         "pixels": bytes([number]) * 64**2}
        for number, uri in enumerate(uris)
    ]  # fmt: skip
    folder.mkdir()
    write_part(pa.Table.from_pylist(rows, schema=schema), folder / "a.parquet")
    return folder


def test_frames_count_once_per_file_and_one_by_one_in_a_table(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "volume.dcm").write_bytes(_volume())
    uris = [f"/ct/volume.dcm#frame-{number}" for number in (1, 2, 3)]
    paths = [_images_table(tmp_path / "t", uris), tmp_path / "volume.dcm", images / "a.png"]
    result = predict(bundle, [str(path) for path in paths], tmp_path / "out", None, quiet=True)
    assert (result.files, result.images, result.rejects) == (5, 7, 0)


def test_a_file_that_is_named_as_a_frame_is_a_file(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    named, broken = tmp_path / "x#frame-2", tmp_path / "x#frame-3"
    shutil.copy(images / "a.png", named)
    broken.write_text("no picture", encoding="utf-8")
    result = predict(bundle, [str(named)], None, None, quiet=True)
    assert result.image is not None
    (tmp_path / "volume.dcm").write_bytes(_volume())
    paths = [str(path) for path in (named, broken, tmp_path / "volume.dcm")]
    result = predict(bundle, paths, tmp_path / "out", None, quiet=True)
    assert (result.files, result.images, result.rejects) == (3, 4, 1)


@pytest.mark.spark
def test_spark_this_process_and_an_images_table_agree(
    bundle: Path, images: Path, shared_data: Path, spark: SparkSession, tmp_path: Path
) -> None:
    nih = shared_data / "nih-chest-xray14"
    few = [str(path) for path in sorted((nih / "images").iterdir())[:6]]
    files = predict(bundle, [*few, str(images)], tmp_path / "spark", spark, quiet=True)
    assert (files.files, files.images, files.rejects) == (10, 9, 1)
    predict(bundle, [*few, str(images)], tmp_path / "here", None, quiet=True)
    ingest([SourceSettings(path=nih)], IngestSettings(size=64), tmp_path / "t", spark, quiet=True)
    table = predict(bundle, [str(tmp_path / "t")], tmp_path / "table", spark, quiet=True)
    assert (table.files, table.rejects) == (60, 0)
    on_spark, here, ingested = (
        _probabilities(tmp_path / name) for name in ("spark", "here", "table")
    )
    assert on_spark.keys() == here.keys()
    # Two engines, OpenVINO and PyTorch: float32 on both sides.
    for uri, chances in on_spark.items():
        assert here[uri] == pytest.approx(chances, abs=1e-4)
    for uri in few:
        assert ingested[uri] == pytest.approx(on_spark[uri], abs=1e-6)
    rows = pq.read_table(tmp_path / "table" / "predictions")
    assert None not in rows["patient_id"].to_pylist()


def test_a_task_that_runs_twice_names_and_writes_the_same(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    """What a retry and speculation do: the part of the second is the part of the first."""
    read = read_bundle(bundle)
    list_inputs(resolve_inputs([str(images)]), tmp_path / "m.parquet", ListingNotes())
    chunk = pq.read_table(tmp_path / "m.parquet")
    engine = bundle_engine(read, tmp_path / "engines")
    config = read.config
    scorer = Scorer(engine, config.classes, config.temperature, read.model_id, now_utc())
    work = FilesWork(scorer, IngestSettings(size=64))
    first, again = work(chunk), work(chunk)
    assert {name: table.num_rows for name, table in first.items()} == {
        "predictions": 3,
        "rejects": 1,
    }
    for name, table in first.items():
        write_part(table, tmp_path / "one.parquet")
        write_part(again[name], tmp_path / "two.parquet")
        assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert work.key(chunk) == work.key(pq.read_table(tmp_path / "m.parquet"))
    # In another precision the answers are others, and so are the names.
    lower = replace(scorer, engine=engine.in_precision("bf16", 2))
    assert FilesWork(lower, IngestSettings(size=64)).key(chunk) != work.key(chunk)


@pytest.mark.spark
def test_the_precision_is_reported_and_stays_within_its_limits(
    bundle: Path,
    shared_data: Path,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nih = [str(shared_data / "nih-chest-xray14" / "images")]
    exact = ScoringSettings(precision="fp32")
    predict(bundle, nih, tmp_path / "fp32", spark, settings=exact, quiet=True)
    lower = ScoringSettings(precision="bf16")
    outcome = predict(bundle, nih, tmp_path / "bf16", spark, settings=lower, quiet=True).precision
    record = json.loads((tmp_path / "bf16" / "predict.json").read_text(encoding="utf-8"))
    assert record["provenance"]["settings"]["precision"] == outcome.model_dump(mode="json")
    assert outcome.asked == "bf16"
    assert outcome.trials[0].precision == "bf16"
    gains = not {"amx_bf16", "avx512_bf16", "bf16"}.isdisjoint(machine.processor().flags)
    assert outcome.images == (60 if gains else 0)
    assert gains or outcome.used == "fp32"
    before, after = _probabilities(tmp_path / "fp32"), _probabilities(tmp_path / "bf16")
    assert before.keys() == after.keys()
    moved = max(np.abs(np.subtract(before[uri], after[uri])).max() for uri in before)
    assert moved <= limits.PARITY_PROBABILITY_MAX  # the sample is all of them
    assert (moved > 0) == (outcome.used != "fp32")


def _probabilities(out: Path) -> dict[str, list[float]]:
    rows = pq.read_table(out / "predictions").to_pylist()
    return {row["uri"]: row["probability"] for row in rows}


def test_an_images_table_of_another_size_or_fit_is_refused(bundle: Path, tmp_path: Path) -> None:
    images = tmp_path / "t" / "images"
    images.mkdir(parents=True)
    row = {
        **dict.fromkeys(schemas.IMAGES.names),
        **{"image_id": "0", "uri": "/a.png", "source": "s", "view": "PA", "pixels": bytes(32**2)},
    }
    wanted = IMAGE_COLUMNS
    schema = pa.schema([schemas.IMAGES.field(name) for name in wanted])
    chosen = {name: row[name] for name in wanted}
    pq.write_table(pa.Table.from_pylist([chosen], schema=schema), images / "a.parquet")
    with pytest.raises(InputError, match=r"32 x 32 pixels, and the bundle takes 64 x 64"):
        predict(bundle, [str(images)], tmp_path / "out", None, quiet=True)
    record: dict[str, Any] = {"provenance": {"settings": {"fit": "pad"}}}
    (tmp_path / "t" / "ingest.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match="'pad', but the model expects 'stretch'"):
        plan_predict(bundle, [str(tmp_path / "t")], tmp_path / "out")
    settings = {"fit": "stretch", "ct_window": "soft"}
    record = {"provenance": {"settings": settings}}
    (tmp_path / "t" / "ingest.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match=r"'soft', but the model expects 'lung': ingest with "
                       r"--set ingest\.ct_window=lung"):  # fmt: skip
        plan_predict(bundle, [str(tmp_path / "t")], tmp_path / "out")
    settings["ct_window"] = "lung"
    (tmp_path / "t" / "ingest.json").write_text(json.dumps(record), encoding="utf-8")
    plan_predict(bundle, [str(tmp_path / "t")], tmp_path / "out")
    record = {"provenance": {"settings": {"fit": "stretch", "equalise": True}}}
    (tmp_path / "t" / "ingest.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match="expects images that were not equalised: ingest with"):
        plan_predict(bundle, [str(tmp_path / "t")], tmp_path / "out")
