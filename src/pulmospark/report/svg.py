"""From a matplotlib figure to SVG that can stand in a page beside others.

matplotlib writes a document of its own: ids that repeat from figure to figure, a style sheet
that reaches the whole page, fixed colours. Here the ids that are referred to get the
figure's name in front, the others go, and the inks become variables of the page, so that
the figures follow its light or dark look.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pulmospark.core import limits

INK, MUTED, GRID = "#1d2730", "#5c6a76", "#dde3e8"
"""Inks that the page's style sheet may change; nothing else may be drawn in them."""
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    "#0072b2": "--series",  # the first of COLOURS
}

# Okabe and Ito's colours that tell apart for all kinds of colour vision, darkest contrast
# first; each comes with a dash of its own, so that the figures also survive grey printing.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#777777")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.2, 2))) * 2

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "text.parse_math": False,  # a class may be called "A$B$"
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout everywhere
    "font.size": 9.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
}


@dataclass(frozen=True)
class Drawing:
    """A figure of the page."""

    name: str
    """unique within the page; its anchor and the front of its ids"""
    title: str
    svg: str
    caption: str
    alt: str
    """what it shows, for those who cannot see it"""


@contextmanager
def drawing() -> Iterator[None]:
    """matplotlib's settings for one figure; those that were there come back after it."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # A name in a script that matplotlib's font lacks is measured a little wrong; the
        # browser has the font.
        warnings.filterwarnings("ignore", message=r"(?s).*(Glyph|support).*", module="matplotlib")
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, with no state outside it."""
    return Figure(figsize=(width, height), layout="constrained")


def shares_across(axes: Any) -> None:
    """Axes with shares from left to right, 0 to 100 %, and names at their left."""
    axes.set_xticks((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_bounds(0, 1)
    axes.grid(visible=True, axis="x")


def label(text: str) -> str:
    """A name for a figure: one line, at most ``limits.REPORT_LABEL_CHARS`` characters.

    Control and direction characters, which XML forbids or which would turn the text around
    them, are left out; the tables beside the figures have the whole name.
    """
    kept = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    line = " ".join(kept.split()) or "?"
    if len(line) <= limits.REPORT_LABEL_CHARS:
        return line
    return line[: limits.REPORT_LABEL_CHARS - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def to_svg(figure: Figure, name: str) -> str:
    """The figure as an ``<svg>`` element, the same text for the same figure.

    Args:
        figure: drawn within ``drawing()``.
        name: unique within the page; stands in front of every id.
    """
    out = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        # None leaves a piece of metadata out: no date, so the text is always the same.
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(out, metadata=nothing)
    root = ET.fromstring(out.getvalue())
    _drop(root, {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"})
    used = set(_references(root))
    for element in root.iter():
        _rewrite(element, name, used)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("xmlns", _SVG)
    root.set("aria-hidden", "true")  # the figure around it has the words
    root.set("focusable", "false")
    return ET.tostring(root, encoding="unicode")


def _drop(element: ET.Element, tags: set[str]) -> None:
    for child in list(element):
        if child.tag in tags:
            element.remove(child)
        else:
            _drop(child, tags)


def _references(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        for value in element.attrib.values():
            yield from _REFERENCE.findall(value)
        if link := element.get(f"{{{_XLINK}}}href"):
            yield link.removeprefix("#")


def _rewrite(element: ET.Element, name: str, used: set[str]) -> None:
    element.tag = element.tag.rpartition("}")[2]
    attributes = dict(element.attrib)
    element.attrib.clear()
    for key, value in attributes.items():
        if key == "id":
            if value in used:
                element.set("id", f"{name}-{value}")
        elif key == f"{{{_XLINK}}}href":
            element.set("href", f"#{name}-{value.removeprefix('#')}")
        elif key == "style":
            element.set(key, _inked(_REFERENCE.sub(rf"url(#{name}-\1)", value)))
        else:
            element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))


def _inked(style: str) -> str:
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, f"var({variable}, {colour})")
    return style
