"""Fonts in PDF files without their layout tables, which take most of the time to embed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fontTools import subset  # type: ignore[import-untyped]

_LAYOUT = ("GDEF", "GPOS", "GSUB")


@contextmanager
def without_layout_tables() -> Iterator[None]:
    """Let matplotlib embed fonts without their tables for laying out text.

    matplotlib has placed every glyph before it writes a PDF, and no reader of one looks at these
    tables; but fontTools parses and shortens them for each font of each file, most of a report's time.
    matplotlib has no setting for it: the list is fontTools' default.
    """
    options, before = subset.Options, subset.Options._drop_tables_default
    options._drop_tables_default = [*before, *_LAYOUT]
    try:
        yield
    finally:
        options._drop_tables_default = before
