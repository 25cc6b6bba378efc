"""The reference says what the code says."""

from __future__ import annotations

import subprocess
import sys

from docs.pages import ROOT
from pulmospark.config.experiment import Experiment
from pulmospark.config.stream import StreamSettings
from pulmospark.core import limits, schemas
from pulmospark.evaluation.results import ClassFigures, Evaluation, Figure
from pulmospark.models.bundle.config import BundleConfig

REFERENCE = ROOT / "docs" / "reference"


def _page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def _section(table: str) -> str:
    return _page("tables").split(f"## {table}\n")[1].split("\n## ")[0]


def test_the_reference_is_up_to_date() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr


def test_every_setting_column_and_limit_is_named() -> None:
    for name in Experiment.model_fields:
        assert f"`{name}`" in _page("settings")
    for name in StreamSettings.model_fields:
        assert f"| `{name}` |" in _page("settings").split("## stream\n")[1]
    for table in (
        "MANIFEST",
        "IMAGES",
        "REJECTS",
        "COHORT",
        "EXPANDED",
        "FEATURES",
        "SCORES",
        "PREDICTIONS",
        "UNITS",
        "REPEATS",
        "ARRIVALS",
    ):
        for column in getattr(schemas, table).names:
            assert f"| `{column}` |" in _section(table.lower())
    for name in vars(limits):
        assert not name.isupper() or f"`{name}`" in _page("limits")


def test_every_figure_has_its_definition() -> None:
    figures = [
        name
        for kind in (Evaluation, ClassFigures)
        for name, field in kind.model_fields.items()
        if field.annotation is Figure
    ]
    assert len(figures) == 14
    for name in figures:
        assert f"| `{name}`" in _page("metrics")


def test_every_key_of_a_bundle_is_told() -> None:
    section = _page("bundle").split("## config.json")[1]
    for name in BundleConfig.model_fields:
        assert f"`{name}`" in section
