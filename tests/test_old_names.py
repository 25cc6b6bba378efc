"""Import paths that were documented before the packages were divided still work."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest


def _public_name(module: ModuleType) -> str:
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
            return name
    raise AssertionError(f"{module.__name__} has no public name")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("core.tables", "core.schemas"),
        ("data.expanded", "data.expand.table"),
        ("experiment.folder", "experiment.run_folder"),
        ("imaging.film", "imaging.image"),
    ],
)
def test_a_module_that_moved_hands_on_and_warns(old: str, new: str) -> None:
    moved = importlib.import_module(f"pulmospark.{new}")
    module = importlib.import_module(f"pulmospark.{old}")
    name = _public_name(moved)
    with pytest.warns(DeprecationWarning, match=f"pulmospark.{new}"):
        value = getattr(module, name)
    assert value is getattr(moved, name)
    with pytest.raises(AttributeError):
        _ = module.no_such_name


@pytest.mark.parametrize(
    ("package", "name", "module"),
    [
        ("data.cohort", "Part", "data.cohort.table"),
        ("data.cohort", "in_part", "data.cohort.table"),
        ("data.cohort", "read_cohort", "data.cohort.table"),
        ("models.bundle", "Bundle", "models.bundle.bundle"),
        ("models.bundle", "read_bundle", "models.bundle.bundle"),
        ("models.bundle", "write_bundle", "models.bundle.bundle"),
    ],
)
def test_a_module_that_became_a_package_hands_on(package: str, name: str, module: str) -> None:
    home = importlib.import_module(f"pulmospark.{package}")
    assert getattr(home, name) is getattr(importlib.import_module(f"pulmospark.{module}"), name)
    with pytest.raises(AttributeError):
        _ = home.no_such_name
