"""The benches of planted faults: every audit has one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import archive, audit_faults, audit_models
from pulmospark.audit.registry import AUDITS


def test_every_audit_has_a_fault_that_it_must_find() -> None:
    every = {audit.name for audit in AUDITS}
    planted = {fault.audit for fault in audit_faults.faults()}
    planted |= {fault.audit for fault in audit_models.faults()}
    # `heat_map_sanity` is about the method, not the images: tests/audit/test_heat_map_sanity.py.
    assert planted | {"augmented", "heat_map_sanity"} == every
    assert planted == {*audit_faults.audits(), *audit_models.model_audits()}


def test_children_of_tested_images_are_found_at_every_strength(tmp_path: Path) -> None:
    rows = audit_models.augmented_rows(tmp_path, 2)
    assert [row[3] for row in rows] == ["2 of 2"] * 3


def test_marks_stay_in_their_corner() -> None:
    for mark in (audit_models.corner, audit_models.letters):
        image = np.full((224, 224), 90, np.uint8)
        mark(image)
        changed = np.argwhere(image != 90)
        assert len(changed) > 50
        assert changed[:, 0].min() > 150
        assert changed[:, 1].max() < 80


def test_images_of_whole_parts_are_counted_once(tmp_path: Path) -> None:
    rows: dict[str, int] = {}
    for name, count in (("predictions-a", 3), ("predictions-b", 4), ("rejects-a", 9)):
        pq.write_table(pa.table({"uri": ["x"] * count}), tmp_path / f"{name}.parquet")
    assert archive.images_in(tmp_path, rows) == 7
    assert archive.images_in(tmp_path, rows) == 7


def test_the_rate_of_a_progress_line_with_a_time_left() -> None:
    lines = [
        "list: 30500 files, 9000.0/s, 3.4 s",
        "predict: 100 of 30500 images",
        "predict: 1100 of 30500 images, 100.0/s, 4 min 54 s left",
        "predict: 30500 of 30500 images, 99.0/s, 308.1 s",
    ]
    assert archive.rates_of(lines) == [100.0]
