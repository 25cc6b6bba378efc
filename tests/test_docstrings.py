"""Public docstrings: every public name has one, and arrays come with their shapes."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pulmospark as ps
from pulmospark.core.errors import PulmosparkError

SOURCE = Path(ps.__file__).parent
ARRAY = re.compile(r"\b(Floats|Singles|Reals|Ints|Integers|Hashes|Pixels|Mask|NDArray|ndarray)\b")
_SIDE = r"(?:[a-z0-9]\w*(?: [+*/-] \w+)*|\.\.\.)"
SHAPE = re.compile(rf"\({_SIDE},(?: {_SIDE}(?:, {_SIDE})*)?\)|\bshape\b")
ELSEWHERE = re.compile(r"^(?:See|As) :(?:class|func):`~?([\w.]+)`")
FUNCTIONS = ("load", "open_run", "read_table", "run")


@dataclass(frozen=True)
class Function:
    """A public function or method, as its source says."""

    place: str
    name: str
    """with its class, if any: ``Model.predict``"""
    docstring: str
    annotations: tuple[str, ...]
    bases: tuple[str, ...]
    """of its class"""

    @property
    def has_arrays(self) -> bool:
        return any(ARRAY.search(annotation) for annotation in self.annotations)


def _functions(tree: ast.Module | ast.ClassDef, place: str) -> Iterator[Function]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _functions(node, place)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            annotations = [argument.annotation for argument in given] + [node.returns]
            owner = tree if isinstance(tree, ast.ClassDef) else None
            yield Function(
                place=f"{place}:{node.lineno}",
                name=f"{owner.name}.{node.name}" if owner else node.name,
                docstring=ast.get_docstring(node) or "",
                annotations=tuple(ast.unparse(value) for value in annotations if value),
                bases=tuple(ast.unparse(base).split("[")[0] for base in owner.bases)
                if owner
                else (),
            )


def _public_functions() -> list[Function]:
    return [
        function
        for path in sorted(SOURCE.rglob("*.py"))
        for function in _functions(
            ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(SOURCE))
        )
    ]


def _states_shapes(function: Function, known: dict[str, list[Function]]) -> bool:
    """Whether the docstring, or the one that it refers to or inherits, states a shape."""
    if SHAPE.search(function.docstring):
        return True
    method = function.name.rpartition(".")[2]
    names = [f"{base}.{method}" for base in function.bases] if not function.docstring else []
    if reference := ELSEWHERE.match(function.docstring):
        name = reference[1].rpartition(".")[2]
        names += [name, f"{name}.{method}"]
    return any(_states_shapes(other, known) for name in names for other in known.get(name, []))


def test_docstrings_state_the_shapes_of_arrays() -> None:
    functions = _public_functions()
    known: dict[str, list[Function]] = {}
    for function in functions:
        known.setdefault(function.name, []).append(function)
    with_arrays = [function for function in functions if function.has_arrays]
    assert len(with_arrays) > 200
    missing = [f"{f.place} {f.name}" for f in with_arrays if not _states_shapes(f, known)]
    assert missing == []


@pytest.mark.parametrize(
    ("docstring", "is_shape"),
    [
        ("probabilities: (n, k), rows sum to 1.", True),
        ("(n,) int64", True),
        ("(h, w, 3) uint8", True),
        ("(..., h, w) uint8", True),
        ("(k, ...) and (n, 1 + points)", True),
        ("of the image's shape", True),
        ("Smooth noise (mean about 0).", False),
        ("Of an image, in grey levels.", False),
    ],
)
def test_what_counts_as_a_shape(docstring: str, is_shape: bool) -> None:
    assert bool(SHAPE.search(docstring)) is is_shape


def _public_members() -> Iterator[tuple[str, Any]]:
    for name in ps.__all__:
        value = getattr(ps, name)
        if callable(value):
            yield name, value
        if inspect.isclass(value):
            for key, member in vars(value).items():
                if not key.startswith("_") and (
                    isinstance(member, property) or inspect.isfunction(member)
                ):
                    yield f"{name}.{key}", member


def test_every_public_name_has_a_docstring_of_its_own() -> None:
    members = dict(_public_members())
    assert len(members) > len(ps.__all__)
    missing = [name for name, value in members.items() if not (value.__doc__ or "").strip()]
    assert missing == []


def test_every_argument_of_a_public_function_is_described() -> None:
    for name, value in _public_members():
        if not inspect.isfunction(value):
            continue
        docstring = inspect.getdoc(value) or ""
        for argument in inspect.signature(value).parameters:
            if argument != "self":
                assert re.search(rf"^    {argument}: ", docstring, re.MULTILINE), (name, argument)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_state_errors_and_an_example(name: str) -> None:
    docstring = inspect.getdoc(getattr(ps, name)) or ""
    for section in ("Args", "Raises", "Example"):
        assert f"\n{section}:\n" in docstring


def test_public_classes_have_an_example_where_a_user_makes_one() -> None:
    made = [
        name
        for name in ps.__all__
        if inspect.isclass(value := getattr(ps, name)) and not issubclass(value, PulmosparkError)
    ]
    assert [name for name in made if "Example:" not in (getattr(ps, name).__doc__ or "")] == []
