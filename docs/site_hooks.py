"""What mkdocs does for this repository besides its own work: see ``hooks`` in ``mkdocs.yml``.

Pages link to files outside ``docs/``: examples, the changelog, a list in the tests. On a Git
host such links work as they are; for the site each such file is copied below ``repository/``
and the link follows it. A page that would load anything from another host is an error.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
OUTSIDE = "repository"
"""folder of the site that holds what is linked to outside ``docs/``"""

ALWAYS = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")
"""pages outside ``docs/`` that the navigation names, linked to or not"""

_SEARCH = 'data-md-component="search" role="dialog"'
_LINK = re.compile(r"(\]\()([^)\s#]+)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_FOREIGN = re.compile(
    r"""<(?:script|link|img|iframe|source|audio|video)\b[^>]*\s(?:src|href)=["']?(?:https?:)?//[^>]*>"""
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside ``docs/`` that pages link to, and those that these link to."""
    pages = [Path(file.abs_src_path or "") for file in files.documentation_pages()]
    waiting = [*pages, *(ROOT / name for name in ALWAYS)]
    known: set[Path] = set(pages)
    for name in ALWAYS:
        known.add(ROOT / name)
        files.append(_outside(ROOT / name, config))
    while waiting:
        page = waiting.pop()
        for target in _targets(page):
            if target in known or not target.is_file() or target.is_relative_to(DOCS):
                continue
            known.add(target)
            files.append(_outside(target, config))
            if target.suffix == ".md":
                waiting.append(target)
    return files


def _outside(path: Path, config: MkDocsConfig) -> File:
    file = File.generated(config, site_uri(path), abs_src_path=str(path))
    file.inclusion = InclusionLevel.NOT_IN_NAV
    return file


def site_uri(path: Path) -> str:
    """Where a file of the repository lies in the site's sources, with slashes."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return f"{OUTSIDE}/{path.relative_to(ROOT).as_posix()}"


def _targets(page: Path) -> Iterator[Path]:
    for text in _FENCE.split(page.read_text(encoding="utf-8"))[::2]:
        for match in _LINK.finditer(text):
            if (target := _inside(page, match[2])) is not None:
                yield target


def _inside(page: Path, link: str) -> Path | None:
    """The file of the repository that a link means; None where it means none."""
    if ":" in link or link.startswith("/"):
        return None
    target = Path(os.path.normpath(page.parent / link))
    return target if target.is_relative_to(ROOT) else None


def relink(markdown: str, source: Path) -> str:
    """The page's text with its links as they must be in the site.

    Links between pages of ``docs/`` stay as they are; code blocks are not looked at.
    """

    def moved(match: re.Match[str]) -> str:
        target = _inside(source, match[2])
        if target is None or (target.is_relative_to(DOCS) and source.is_relative_to(DOCS)):
            return match[0]
        return match[1] + posixpath.relpath(
            site_uri(target), posixpath.dirname(site_uri(source)) or "."
        )

    parts = _FENCE.split(markdown)
    parts[::2] = [_LINK.sub(moved, text) for text in parts[::2]]
    return "".join(parts)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links lead to the copies below ``repository/``."""
    return relink(markdown, Path(page.file.abs_src_path or ""))


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Refuse a page that loads a script, style or image from another host; name its search."""
    if foreign := foreign_parts(output):
        raise PluginError(f"{page.file.src_uri}: loads {foreign[0]} from another host; copy it")
    # The theme's dialog has no name for a screen reader.
    return output.replace(_SEARCH, f'{_SEARCH} aria-label="Search"')


def foreign_parts(html: str) -> list[str]:
    """The tags of a page that make a browser ask another host."""
    return _FOREIGN.findall(html)
