"""The tree: no import cycles, bounded files and functions, a docstring for each package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import architecture

MODULES = architecture.modules()


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {
        name: architecture.top_level_imports(file.read_text(encoding="utf-8"), MODULES)
        for name, file in MODULES.items()
    }
    assert sum(map(len, graph.values())) > len(graph), "the imports were not read"
    assert architecture.cycles(graph) == []


def test_cycles_are_recognised() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"e"}}
    assert architecture.cycles(graph) == [["a", "b", "c"], ["e"]]


def test_only_imports_that_run_at_import_count() -> None:
    source = """
from typing import TYPE_CHECKING
from p import module, symbol
import p.other
if TYPE_CHECKING:
    from p import types
def late():
    from p import lazy
class Early:
    from p import inner
"""
    known = dict.fromkeys(("p", "p.module", "p.other", "p.types", "p.lazy", "p.inner"))
    imported = architecture.top_level_imports(source, known)
    assert imported == {"p", "p.module", "p.other", "p.inner"}


@pytest.mark.parametrize("kind", ["files", "functions"])
def test_nothing_grows_beyond_its_limit(kind: str) -> None:
    measure = architecture.long_files if kind == "files" else architecture.long_functions
    now, allowed = measure(), architecture.exceptions()[kind]
    too_long = {name: lines for name, lines in now.items() if lines > allowed.get(name, 0)}
    assert too_long == {}, "split these; the list of exceptions only shrinks"
    assert allowed.keys() <= now.keys(), "take these out of the list: they are short enough now"


def test_lines_of_functions_are_counted() -> None:
    source = 'class A:\n    def f(self):\n        """Two."""\n        def g():\n            pass\n'
    assert dict(architecture.function_lines(source)) == {"A.f": 4, "A.f.g": 2}


@pytest.mark.parametrize(
    "folder", sorted({file.parent for file in MODULES.values()}), ids=lambda path: path.name
)
def test_each_package_says_what_it_is(folder: Path) -> None:
    init = folder / "__init__.py"
    assert init.is_file(), f"{folder}: a package needs an __init__.py"
    assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8")))
