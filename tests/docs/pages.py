"""The documentation as the tests read it: pages, code blocks, commands, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / f"{n}.md" for n in ("README", "CONTRIBUTING"))]
)
"""what people read; the changelog has no commands and no links within"""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`(pulmospark [^`]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_MODULE = re.compile(r"`([\w*]+/[\w*/]+\.py)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """Something that a page holds."""

    page: Path
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.splitlines()[0]}"


def blocks(language: str) -> list[Found]:
    """The code blocks of a language, on all pages."""
    return [
        Found(page, match[2])
        for page in PAGES
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))
        if match[1] == language
    ]


def commands() -> list[Found]:
    """Every ``pulmospark ...`` line: in blocks, in the text, and in the examples."""
    found = []
    for block in blocks("sh"):
        found += [Found(block.page, line) for line in _command_lines(block.text)]
    for page in PAGES:
        text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
        found += [Found(page, match[1]) for match in _INLINE.finditer(text)]
    for example in sorted(path for path in EXAMPLES.iterdir() if path.is_file()):
        lines = example.read_text(encoding="utf-8").splitlines()
        said = "\n".join(line.lstrip("# ") for line in lines if line.startswith("#   "))
        found += [Found(example, line) for line in _command_lines(said)]
    return found


def _command_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if "submit.py " in line:
            yield "pulmospark " + line.partition("submit.py ")[2]
        elif line.startswith("pulmospark "):
            yield line


def arguments(command: str) -> list[str]:
    """What stands behind ``pulmospark``, without comments."""
    return shlex.split(command, comments=True)[1:]


def links() -> list[Found]:
    """The relative links of all pages."""
    return [
        Found(page, match[1])
        for page in PAGES
        for match in _LINK.finditer(_BLOCK.sub("", page.read_text(encoding="utf-8")))
        if "://" not in match[1]
    ]


def modules() -> list[Found]:
    """Every ``package/module.py`` that the text names, a pattern like ``stream*.py`` too."""
    return [
        Found(page, match[1])
        for page in PAGES
        for match in _MODULE.finditer(_BLOCK.sub("", page.read_text(encoding="utf-8")))
    ]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.strip().replace(" ", "-") for heading in plain}
