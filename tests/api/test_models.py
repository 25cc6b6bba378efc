"""Models through the front door: one image, a list of files, a Spark DataFrame."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

import pulmospark as ps
from bundles import write_untrained
from pulmospark.cli.main import main
from pulmospark.core import limits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bundle``, the images ``a.png`` and ``b.png``, and ``text.png``."""
    folder = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(1)
    for name in ("a.png", "b.png"):
        image = random.integers(0, 256, (70, 70), dtype=np.uint8)
        assert cv2.imwrite(str(folder / name), image)
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    write_untrained(folder / "bundle")
    return folder


@pytest.fixture
def model(folder: Path) -> ps.Model:
    return ps.load(folder / "bundle")


def test_a_model_says_what_it_is(model: ps.Model, folder: Path) -> None:
    assert model.classes == ("COVID-19", "normal", "=pneumonia")
    assert model.bundle == folder / "bundle"
    assert repr(model).startswith("<Model basic_cnn: COVID-19, normal, =pneumonia; ")
    assert ps.NOT_A_MEDICAL_DEVICE in model._repr_html_()


def test_one_image_is_answered_as_the_command_line_answers(
    model: ps.Model, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = model.predict(folder / "a.png")
    with pytest.raises(SystemExit):
        main(["predict", str(folder / "bundle"), str(folder / "a.png"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert found == ps.Prediction.model_validate(told["image"])
    assert model.model_id == told["model_id"]


def test_an_answer_does_not_depend_on_earlier_ones(model: ps.Model, folder: Path) -> None:
    first = model.predict(folder / "a.png")
    assert model.predict(str(folder / "b.png")).probabilities != first.probabilities
    assert model.predict((folder / "a.png").as_uri()) == first


def test_a_list_has_a_row_for_each_file_and_rejects_come_last(
    model: ps.Model, folder: Path
) -> None:
    names = ("text.png", "b.png", "a.png")
    frame = model.predict([folder / name for name in names])
    assert [Path(uri).name for uri in frame["uri"]] == ["b.png", "a.png", "text.png"]
    one = model.predict(folder / "b.png")
    row = frame.iloc[0]
    assert row["prediction"] == one.prediction
    for name, value in one.probabilities.items():
        assert row[f"probability_{name}"] == pytest.approx(value, abs=1e-6)
    assert row["decision_COVID-19"] == ("positive" if one.decisions[0].positive else "negative")
    assert frame["reject"].tolist() == [None, None, "not_an_image"]
    assert frame["probability_normal"].isna().tolist() == [False, False, True]
    assert frame["probability_normal"].dtype == np.float64


def test_a_list_of_rejects_alone_has_the_same_columns(model: ps.Model, folder: Path) -> None:
    frame = model.predict([folder / "text.png"])
    assert frame.columns.tolist() == model.predict([folder / "a.png"]).columns.tolist()
    assert frame["prediction"].isna().all()


def test_out_keeps_what_predict_writes(model: ps.Model, folder: Path, tmp_path: Path) -> None:
    frame = model.predict([folder / "a.png", folder / "text.png"], out=tmp_path / "out")
    sheet = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert sheet["prediction"].tolist() == frame["prediction"].dropna().tolist()
    assert ps.read_table(tmp_path / "out" / "rejects")["reason"].tolist() == ["not_an_image"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("text.png", ps.InputError, "text.png: not_an_image: "),
        ("gone.png", ps.InputError, "no such file or folder"),
        ("", ps.UsageError, "matches more than one image: pass a list"),
        ("*.png", ps.UsageError, "matches more than one image"),
    ],
)
def test_what_is_no_image_is_an_error_of_one_line(
    model: ps.Model, folder: Path, given: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("*", r"\*")) as raised:
        model.predict(f"{folder}/{given}")
    assert "\n" not in str(raised.value)


def test_out_is_for_a_list(model: ps.Model, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ps.UsageError, match="out needs a list of paths"):
        model.predict(folder / "a.png", out=tmp_path / "out")  # type: ignore[call-overload]


@pytest.mark.parametrize("given", [3, [3], [b"\x00" * 10, None]])
def test_what_is_no_path_is_a_wrong_call(model: ps.Model, given: Any) -> None:
    with pytest.raises(ps.UsageError, match="a path, a list of paths or a Spark DataFrame"):
        model.predict(given)


def test_another_model_in_the_same_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    model = ps.load(write_untrained(tmp_path / "bundle"))
    model.predict(folder / "a.png")
    write_untrained(tmp_path / "bundle", seed=2)
    with pytest.raises(ps.BundleError, match="was replaced by another model: load it again"):
        model.predict(folder / "a.png")


def test_a_model_of_phantoms_takes_other_images_on_demand_alone(
    folder: Path, tmp_path: Path
) -> None:
    model = ps.load(write_untrained(tmp_path / "bundle", phantoms=True))
    with pytest.raises(ps.InputError, match="not_a_phantom"):
        model.predict(folder / "a.png")
    found = model.predict(folder / "a.png", allow_phantom_model=True)
    assert "with cautions" in repr(found)
    assert "says nothing about a person" in found._repr_html_()


def test_a_notebook_is_shown_escaped_text(tmp_path: Path, folder: Path) -> None:
    odd = tmp_path / "<b>bold<b>.png"
    odd.write_bytes((folder / "a.png").read_bytes())
    html = ps.load(folder / "bundle").predict(odd)._repr_html_()
    assert "<b>bold" not in html
    assert "&lt;b&gt;bold&lt;b&gt;.png" in html


def test_one_image_starts_no_spark(folder: Path) -> None:
    code = (
        "import sys, pulmospark as ps\n"
        f"print(ps.load({str(folder / 'bundle')!r}).predict({str(folder / 'a.png')!r}))\n"
        "from pyspark import SparkContext\n"
        "assert SparkContext._gateway is None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<Prediction ")


def test_a_spark_dataframe_gets_columns(
    model: ps.Model, folder: Path, spark: SparkSession
) -> None:
    rows = spark.read.format("binaryFile").load(f"{folder}/*.png")
    found = {Path(row["path"]).name: row for row in model.predict(rows).collect()}
    assert sorted(found) == ["a.png", "b.png", "text.png"]
    for name in ("a.png", "b.png"):
        one = model.predict(folder / name)
        assert found[name]["predictionLabel"] == one.prediction
        assert found[name]["probability"].toArray() == pytest.approx(
            list(one.probabilities.values()), abs=1e-4
        )
    assert found["text.png"]["prediction"] is None
    with pytest.raises(ps.UsageError, match="the DataFrame has the columns path: name the one"):
        model.predict(rows.select("path"))
    with pytest.raises(ps.UsageError, match="out needs a list of paths"):
        model.predict(rows, out=folder / "out")  # type: ignore[call-overload]


def test_a_folder_is_scored_on_spark(
    model: ps.Model, folder: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert spark is not None  # the active one, which is used
    frame = model.predict([f"{folder}/*.png"], quiet=True)
    monkeypatch.setattr(limits, "CHUNK_FILES_MAX", 2)  # a longer list is Spark's as well
    again = model.predict([folder / name for name in ("a.png", "b.png", "text.png")], quiet=True)
    pd.testing.assert_frame_equal(frame, again)
