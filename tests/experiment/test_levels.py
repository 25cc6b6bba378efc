"""Scans and patients scored as a whole, beside their slices."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.parse import parse
from pulmospark.core.errors import InputError, UsageError
from pulmospark.experiment.evaluate import evaluate, read_evaluation
from pulmospark.experiment.levels import pooled_units, training_units
from pulmospark.experiment.report_data.collect import report_content
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.report.page import render_report
from pulmospark.report.tables import level_rows

if TYPE_CHECKING:
    from conftest import FinishedRun

CLASSES = ("ill", "well")
_NAMES = ("uri", "source", "scan_id", "patient_id", "group_id")


def _rows(*told: tuple[str | None, str | None, str, float]) -> pa.Table:
    """Slices as scan, patient, label and probability of being ill."""
    return pa.Table.from_pylist(
        [
            {
                "uri": f"/{at}.png",
                "source": "ct",
                "scan_id": scan,
                "patient_id": None if patient is None else f"ct:{patient}",
                "group_id": f"ct:{patient or at}",
                "fold": None,
                "label": label,
                "probability": [ill, 1 - ill],
            }
            for at, (scan, patient, label, ill) in enumerate(told)
        ],
        schema=pa.schema(
            [
                *[(name, pa.string()) for name in _NAMES],
                ("fold", pa.int32()),
                ("label", pa.string()),
                ("probability", pa.list_(pa.float64())),
            ]
        ),
    )


ROWS = _rows(
    ("a", "1", "ill", 0.9),
    ("a", "1", "ill", 0.1),
    ("a", "1", "ill", 0.2),
    ("b", "1", "ill", 0.8),
    ("c", "2", "well", 0.3),
    (None, "2", "well", 0.5),
    ("d", "2", "ill", 0.6),
)


def _by_unit(table: pa.Table) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["unit"], row["label"]): row for row in table.to_pylist()}


def test_slices_become_scans_and_scans_patients() -> None:
    settings = EvaluateSettings(levels=("scan", "patient"))
    scans = _by_unit(pooled_units(ROWS, "scan", CLASSES, settings))
    assert {key: row["images"] for key, row in scans.items()} == {
        ("ct:a", "ill"): 3,
        ("ct:b", "ill"): 1,
        ("ct:c", "well"): 1,
        ("/5.png", "well"): 1,  # of no scan: a scan by itself
        ("ct:d", "ill"): 1,
    }
    assert scans["ct:a", "ill"]["probability"] == pytest.approx([0.4, 0.6])
    assert scans["ct:a", "ill"]["prediction"] == "well"
    patients = _by_unit(pooled_units(ROWS, "patient", CLASSES, settings))
    # Each scan counts the same: (0.4 + 0.8) / 2, and not the mean over slices.
    assert patients["ct:1", "ill"]["probability"] == pytest.approx([0.6, 0.4])
    assert patients["ct:1", "ill"]["images"] == 4
    # What a patient has of two classes is two units of one group.
    assert patients["ct:2", "well"]["probability"] == pytest.approx([0.4, 0.6])
    assert patients["ct:2", "ill"]["group_id"] == patients["ct:2", "well"]["group_id"]


def test_patients_that_a_split_keeps_together_are_pooled_apart_and_drawn_together() -> None:
    joined = ROWS.set_column(
        ROWS.column_names.index("group_id"), "group_id", pa.array(["ct:1"] * ROWS.num_rows)
    )
    settings = EvaluateSettings()
    told = _by_unit(pooled_units(joined, "patient", CLASSES, settings))
    apart = _by_unit(pooled_units(ROWS, "patient", CLASSES, settings))
    assert told.keys() == apart.keys()
    assert {key[0] for key in told} == {"ct:1", "ct:2"}
    assert all(told[key]["probability"] == apart[key]["probability"] for key in told)
    assert {row["group_id"] for row in told.values()} == {"ct:1"}
    assert training_units(joined, "patient").num_rows == len(told)


def test_a_scan_stands_for_a_patient_who_is_not_known() -> None:
    rows = _rows(("a", None, "ill", 0.9), ("a", None, "ill", 0.7), (None, None, "well", 0.2))
    told = _by_unit(pooled_units(rows, "patient", CLASSES, EvaluateSettings()))
    assert told.keys() == {("ct:a", "ill"), ("/2.png", "well")}
    assert told["ct:a", "ill"]["images"] == 2
    units = training_units(rows, "patient").to_pylist()
    assert {(row["unit"], row["label"]) for row in units} == told.keys()


def test_the_order_of_the_rows_is_nothing() -> None:
    settings = EvaluateSettings(pooling="top_k", top_k=2)
    order = np.random.default_rng(3).permutation(ROWS.num_rows)
    for level in ("scan", "patient"):
        plain = pooled_units(ROWS, level, CLASSES, settings)
        mixed = pooled_units(ROWS.take(pa.array(order)), level, CLASSES, settings)
        assert mixed.drop_columns(["probability"]) == plain.drop_columns(["probability"])
        assert np.allclose(mixed["probability"].to_pylist(), plain["probability"].to_pylist())


def test_the_rules_learn_from_units_not_from_slices() -> None:
    told = training_units(ROWS, "scan").to_pylist()
    assert sorted(row["label"] for row in told) == ["ill", "ill", "ill", "well", "well"]
    assert len(training_units(ROWS, "patient").to_pylist()) == 3


def test_a_level_that_is_not_there_is_said() -> None:
    images = _rows((None, "1", "ill", 0.9))
    with pytest.raises(InputError, match="none of the tested images belongs to a scan"):
        pooled_units(images, "scan", CLASSES, EvaluateSettings())
    values = {"sources": [{"path": "x"}], "evaluate": {"levels": ["scan"], "pooling": "noisy_or"}}
    with pytest.raises(UsageError, match=r"evaluate\.negative_class is not set"):
        parse(Experiment, values, where="test")


@pytest.mark.spark
def test_an_evaluation_at_the_level_of_the_patient(
    finished_run: FinishedRun, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished_run.folder.root, root)
    run = RunFolder(root)
    asked = finished_run.experiment.model_copy(
        update={"evaluate": EvaluateSettings(replicates=100, levels=("patient",))}
    )
    result = evaluate(asked, run)
    assert read_evaluation(run.evaluation) == result
    (told,) = result.levels
    assert (told.level, told.pooling) == ("patient", "mean")
    # Each patient with images of one class once; intervals over the same patients.
    rows = pq.read_table(run.evaluation / "predictions").to_pylist()
    assert told.evaluation.images == len({(row["group_id"], row["label"]) for row in rows})
    assert told.evaluation.groups == result.evaluation.groups
    assert told.evaluation.images < result.evaluation.images
    assert told.cross_validation is not None
    assert told.evaluation.accuracy.low is not None
    assert told.evaluation.operating is None
    again = asked.model_copy(
        update={
            "evaluate": EvaluateSettings(replicates=100, levels=("patient",), pooling="attention")
        }
    )
    attended = evaluate(again, run).levels[0].evaluation
    assert (attended.images, attended.groups) == (told.evaluation.images, told.evaluation.groups)
    assert evaluate(asked, run) == result
    units = pq.read_table(run.evaluation / "units" / "patient.parquet")
    right = sum(row["label"] == row["prediction"] for row in units.to_pylist())
    assert told.evaluation.accuracy.numerator == right
    assert sum(units["images"].to_pylist()) == result.evaluation.images
    content = report_content(asked, run)
    page = render_report(content)
    assert 'id="levels"' in page
    assert level_rows(content)[1].count == told.evaluation.images
    without = content.model_copy(update={"levels": ()})
    assert 'id="levels"' not in render_report(without)
