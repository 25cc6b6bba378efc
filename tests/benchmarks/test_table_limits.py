"""The benchmark of the limits of tables, at tiny sizes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.__main__ import SMALL

from benchmarks import table_limits


def test_a_smoke_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, "restored at the end")
    report = table_limits.measure(replace(SMALL, out=tmp_path))
    assert [note for note in report.notes if "MISSED" in note] == []
    assert report.rows
