"""The images that a report shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from pulmospark.core import limits
from pulmospark.experiment.example_images import right_and_wrong

if TYPE_CHECKING:
    from conftest import FinishedRun

pytestmark = pytest.mark.spark


def test_right_ones_of_each_class_in_turn_and_wrong_ones_worst_first(
    finished_run: FinishedRun,
) -> None:
    classes = finished_run.result.split.classes
    right, wrong = right_and_wrong(finished_run.folder, classes)
    rows = pq.read_table(finished_run.folder.evaluation / "predictions").to_pylist()
    named = [row for row in rows if row["label"] == row["prediction"]]
    assert len(right) == min(len(named), limits.REPORT_IMAGES_MAX)
    assert len(wrong) == min(len(rows) - len(named), limits.REPORT_IMAGES_MAX)
    assert all(image.label == image.prediction for image in right)
    assert {image.label for image in right[: len(classes)]} == {row["label"] for row in named}
    chances = [image.probability for image in wrong]
    assert chances == sorted(chances, reverse=True)
    assert all(image.label != image.prediction for image in wrong)
