"""What the tree must keep to, read from the source alone: import cycles, sizes, docstrings.

``python tests/architecture.py`` writes today's exceptions to ``architecture_exceptions.toml``.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
EXCEPTIONS = Path(__file__).with_name("architecture_exceptions.toml")
_FOLDERS = ("src", "tests", "benchmarks", "docs", "examples")


def modules() -> dict[str, Path]:
    """Dotted name of each module and package of pulmospark -> its file."""
    named = {}
    for file in sorted((SOURCE / "pulmospark").rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return named


def top_level_imports(source: str, known: Mapping[str, object]) -> set[str]:
    """Modules of ``known`` that are imported as soon as the source is: not within functions."""
    imported: set[str] = set()
    for node in _run_at_import(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                imported.add(full if full in known else node.module)
    return imported & known.keys()


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run_at_import(node)


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], order[other])
        if lowest[node] == order[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1 or node in graph[node]:
                groups.append(sorted(group))

    for node in graph:
        if node not in order:
            visit(node)
    return groups


def long_files(root: Path = ROOT) -> dict[str, int]:
    """Path -> lines of each Python file that has more than it may."""
    sizes = {path: len(text.splitlines()) for path, text in _sources(root)}
    return {path: lines for path, lines in sizes.items() if lines > FILE_LINES_MAX}


def long_functions(root: Path = ROOT) -> dict[str, int]:
    """``path:function`` -> lines of each function that has more than it may."""
    return {
        f"{path}:{name}": lines
        for path, text in _sources(root)
        for name, lines in function_lines(text)
        if lines > FUNCTION_LINES_MAX
    }


def function_lines(source: str) -> Iterator[tuple[str, int]]:
    """Qualified name and lines, docstring included, of each function in a source."""

    def within(tree: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
        for node in ast.iter_child_nodes(tree):
            name = prefix
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{node.name}."
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name[:-1], (node.end_lineno or node.lineno) - node.lineno + 1
            yield from within(node, name)

    return within(ast.parse(source), "")


def _sources(root: Path) -> Iterator[tuple[str, str]]:
    for folder in _FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            yield file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")


def exceptions() -> dict[str, dict[str, int]]:
    """What was too long when the limits came: ``files`` and ``functions`` with their lines."""
    return tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))


def main() -> None:
    """Write the exceptions as they are now."""
    lines = [
        "# Lines of what is longer than tests/test_architecture.py allows. Entries may shrink or",
        "# go, and a new one is not added: split the file or the function.",
    ]
    for name, sizes in (("files", long_files()), ("functions", long_functions())):
        lines += ["", f"[{name}]", *(f'"{key}" = {value}' for key, value in sorted(sizes.items()))]
    EXCEPTIONS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
