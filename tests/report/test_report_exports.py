"""The folder of files for a paper: read back by csv, pandas and a reader of LaTeX escapes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.core import schemas
from pulmospark.core.errors import PlatformError
from pulmospark.report.content import Level
from pulmospark.report.exports import latex, latex_table, metric_rows
from pulmospark.report.page import write_report
from report import sample
from report.outline import Outline

NAMES = ("50% & more_$x#", "=1+1", "normal")


def predictions(folder: Path) -> list[Path]:
    """Two parts with three images in all."""
    rows = [
        {
            **dict.fromkeys(schemas.PREDICTIONS.names),
            **{"image_id": f"{n}" * 64, "uri": f"/secret/{n}.png", "label": NAMES[n]},
            **{"prediction": NAMES[0], "probability": [0.7, 0.2, 0.1], "logits": [1.0, 0.0, 0.0]},
            **{"source": "s", "patient_id": "s:7", "group_id": f"s:{7 + n % 2}", "split": "train"},
            **{
                "fold": n or None,
                "model_id": "m",
                "predicted_at": pd.Timestamp("2026-01-01", tz="UTC"),
            },
        }
        for n in range(3)
    ]
    paths = [folder / "0.parquet", folder / "1.parquet"]
    for path, some in zip(paths, (rows[:2], rows[2:]), strict=True):
        pq.write_table(pa.Table.from_pylist(some, schema=schemas.PREDICTIONS), path)
    return paths


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a report with every plot; the page lies next to it."""
    root = tmp_path_factory.mktemp("run")
    content = sample.content(
        evaluation=sample.evaluation(classes=NAMES),
        cross_validation=sample.cross_validation(),
        levels=(Level(unit="patient", pooling="mean", evaluation=sample.evaluation()),),
        audits=sample.audits(),
        figures_folder="figures",
    )
    write_report(content, root / "report.html", predictions(root))
    return root / "figures"


def test_each_plot_of_the_page_is_there_as_svg_and_pdf(folder: Path) -> None:
    outline = Outline((folder.parent / "report.html").read_text(encoding="utf-8"))
    ids = (v for tag, name, v in outline.attributes if (tag, name) == ("figure", "id"))
    names = {one.removeprefix("figure-") for one in ids}
    assert {"shortcuts", "confusion", "roc", "folds", "class_by_age-histogram"} <= names
    for end in ("svg", "pdf"):
        assert {path.stem for path in folder.glob(f"*.{end}")} == names
    others = {path.name for path in folder.iterdir() if path.suffix not in {".svg", ".pdf"}}
    assert others == {"metrics.csv", "predictions.csv", "table.tex"}
    links = {v for tag, name, v in outline.attributes if (tag, name) == ("a", "href")}
    assert {f"figures/{name}" for name in others} <= links


def test_the_metrics_are_those_of_the_evaluation(folder: Path) -> None:
    frame = pd.read_csv(folder / "metrics.csv")
    one = sample.evaluation(classes=NAMES)
    image = frame[frame["level"] == "image"]
    assert not image.duplicated(["class", "metric"]).any()
    (accuracy,) = image[image["metric"] == "accuracy"].to_dict("records")
    assert accuracy["value"] == pytest.approx(one.accuracy.value)
    assert accuracy["ci_low"] == pytest.approx(one.accuracy.low)
    assert (accuracy["ci_method"], accuracy["confidence"]) == ("wilson", 0.95)
    assert accuracy["numerator"] / accuracy["denominator"] == pytest.approx(accuracy["value"])
    auroc = image[(image["metric"] == "auroc") & (image["class"] == NAMES[0])]
    assert auroc["value"].item() == pytest.approx(one.by_class[0].auroc.value)
    assert set(frame["level"]) == {"image", "patient", *(f"fold {n}" for n in range(1, 6))}
    assert set(image["metric"]) >= {
        "operating_threshold", "operating_sensitivity", "baseline_most_frequent_class_of_source",
    }  # fmt: skip


def test_the_predictions_have_a_row_an_image_and_nothing_of_the_machine(folder: Path) -> None:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows] == ["0", "1", "0"]  # numbers, over all parts
    assert [row["label"] for row in rows] == [NAMES[0], "'=1+1", NAMES[2]]  # no formula
    assert [(row["split"], row["fold"]) for row in rows] == [("train", ""), ("", "1"), ("", "2")]
    assert [float(rows[0][f"probability_{name}"]) for name in NAMES] == [0.7, 0.2, 0.1]
    text = (folder / "predictions.csv").read_text(encoding="utf-8")
    assert "/secret" not in text
    assert "s:7" not in text
    assert "s:8" not in text


def unescaped(text: str) -> str:
    """What LaTeX prints of text without macros of its own: the escapes undone."""
    words = {
        "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<",
        "textgreater": ">", "textbar": "|", "textquotedbl": '"', "textasciigrave": "`",
    }  # fmt: skip
    printed, at = "", 0
    while at < len(text):
        if (word := re.match(r"\\(text[a-z]+)\{\}", text[at:])) is not None:
            printed, at = printed + words[word[1]], at + len(word[0])
        elif text[at] == "\\":
            printed, at = printed + text[at + 1], at + 2
        else:
            assert text[at] not in "&%$#_{}^", f"{text[at]} is not escaped"
            printed, at = printed + ("\N{NO-BREAK SPACE}" if text[at] == "~" else text[at]), at + 1
    return printed


@given(st.text(st.characters(exclude_categories=["C"]) | st.sampled_from('&%$#_{}~^\\<>|`"-')))
def test_any_name_is_printed_as_it_is(name: str) -> None:
    shown = name.replace("\N{EM DASH}", "---")
    assert unescaped(latex(name.replace("\N{MINUS SIGN}", "-"))) == shown.replace(
        "\N{MINUS SIGN}", "-"
    )


def test_the_table_has_a_row_a_class_and_as_many_cells_as_columns(folder: Path) -> None:
    text = (folder / "table.tex").read_text(encoding="utf-8")
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert columns is not None
    between = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    for line in between.splitlines():
        if line.startswith(("\\toprule", "\\midrule")):
            continue
        assert line.endswith(r" \\")
        cells = re.split(r"(?<!\\)&", line.removesuffix(r" \\"))
        spanned = re.match(r"\\multicolumn\{(\d)\}", cells[0])
        assert len(cells) + (int(spanned[1]) - 1 if spanned else 0) == len(columns[1])
    assert r"50\% \& more\_\$x\#" in between
    one = sample.evaluation(classes=NAMES).by_class[0].sensitivity
    value, low, high = (f"{100 * (x or 0):.1f}" for x in (one.value, one.low, one.high))
    assert rf"{value}~\% ({low} to {high}~\%)" in between


def test_without_baselines_or_operating_point_there_is_still_a_table() -> None:
    bare = sample.evaluation().model_copy(update={"operating": None, "trivial": None})
    content = sample.content(evaluation=bare, is_phantom=True)
    text = latex_table(content)
    assert "Phantoms" in text
    assert "synthetic patients" in text
    assert "Baseline" not in text
    assert "operating_threshold" not in {row[2] for row in metric_rows(content)}


def test_an_earlier_folder_is_replaced_and_survives_a_full_disk(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "figures"
    target.mkdir()
    (target / "old.svg").write_text("old", encoding="utf-8")
    content = sample.content(figures_folder="figures", training=None)

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(PlatformError, match="disk is full"):
            write_report(content, tmp_path / "report.html")
    assert [path.name for path in target.iterdir()] == ["old.svg"]
    write_report(content, tmp_path / "report.html")
    assert "old.svg" not in {path.name for path in target.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == {"figures", "report.html"}
