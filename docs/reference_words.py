"""Descriptions in the code as Markdown: for ``make_reference.py``."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Sequence
from types import ModuleType


def sayings(source: ModuleType | type) -> dict[str, str]:
    """Name -> the string below its assignment, as one line of Markdown."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(source)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else tree.body
    descriptions = {}
    for node, after in itertools.pairwise(body):
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
            continue
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = list(node.targets)
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            for name in names:
                if isinstance(name, ast.Name):
                    descriptions[name.id] = markdown(str(after.value.value))
    return descriptions


def markdown(text: str) -> str:
    """A docstring as one line of Markdown."""
    text = re.sub(r":(?:attr|class|data|func|meth|mod):`~?([^`]+)`", r"`\1`", text).replace(
        "``", "`"
    )
    return " ".join(text.split()).replace("<", "&lt;")


def first_paragraph(documented: object) -> str:
    """The first paragraph of a docstring, as one line."""
    return markdown((inspect.getdoc(documented) or "").split("\n\n")[0])


def table(head: tuple[str, ...], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    lines = [" | ".join(row) for row in (cells[0], ["---"] * len(head), *cells[1:])]
    return "".join(f"| {line} |\n" for line in lines)
