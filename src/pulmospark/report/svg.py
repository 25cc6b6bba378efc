"""From a matplotlib figure to SVG for a page, and to SVG and PDF files for a paper.

matplotlib writes a document of its own: ids that repeat from figure to figure, a style sheet
that reaches the whole page, fixed colours. In a page the ids that are referred to get the
figure's name in front, the others go, and the inks become variables of the page, so that
the figures follow its light or dark colours.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO, StringIO
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pulmospark.core import limits
from pulmospark.evaluation.registry import Scale
from pulmospark.evaluation.results import Figure as Metric
from pulmospark.report.numbers import PERCENT, interval, number
from pulmospark.report.pdf_fonts import without_layout_tables

INK, MUTED, GRID = "#1d2730", "#5c6a76", "#dde3e8"
"""Inks that the page's style sheet may change; nothing else may be drawn in them."""
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    "#0072b2": "--series",  # the first of COLOURS
}

# Okabe and Ito's colours, distinguishable for all kinds of colour vision, darkest contrast
# first. Each has its own dash, so that the plots also work in greyscale print.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#777777")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.2, 2))) * 2

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_TIP = "tip:"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_SETTINGS = {
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
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
    """unique within the page; its anchor, the front of its ids, and the name of its files"""
    title: str
    figure: Figure = field(compare=False, repr=False)
    caption: str
    alt: str
    """what it shows, for those who cannot see it"""

    @cached_property
    def svg(self) -> str:
        """The ``<svg>`` element for a page: unique ids, and inks that are the page's variables."""
        root = _rewritten(self._matplotlib_svg, self.name, href="href", colours=_VARIABLES)
        for size in ("width", "height"):
            root.attrib.pop(size)
        root.set("aria-hidden", "true")  # the figure around it has the words
        root.set("focusable", "false")
        return ET.tostring(root, encoding="unicode")

    def svg_file(self) -> str:
        """The figure as an SVG document of its own, with fixed colours."""
        # Programs that convert SVG for LaTeX know links by their older name alone.
        root = _rewritten(self._matplotlib_svg, self.name, href="xlink:href", colours={})
        root.set("xmlns:xlink", _XLINK)
        return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"

    def pdf_file(self) -> bytes:
        """The figure as a one-page PDF with embedded TrueType fonts; the same bytes each time."""
        out = BytesIO()
        with _settings(), without_layout_tables():
            nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
            FigureCanvasPdf(self.figure).print_pdf(out, metadata=nothing)
        self._keep_layout()
        return out.getvalue()

    @cached_property
    def _matplotlib_svg(self) -> str:
        """matplotlib's document, drawn once for the page and for the file."""
        out = StringIO()
        with _settings(), mpl.rc_context({"svg.hashsalt": self.name}):
            # None leaves a piece of metadata out: no date, so the text is always the same.
            nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            FigureCanvasSVG(self.figure).print_svg(out, metadata=nothing)
        self._keep_layout()
        return out.getvalue()

    def _keep_layout(self) -> None:
        """Keep the places that the first drawing found, which takes as long as the drawing."""
        self.figure.set_layout_engine("none")


@contextmanager
def _settings() -> Iterator[None]:
    """matplotlib's settings for one figure; those that were there come back after it."""
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # A name in a script that matplotlib's font lacks is measured a little wrong; the
        # browser has the font.
        warnings.filterwarnings("ignore", message=r"(?s).*(Glyph|support).*", module="matplotlib")
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")
        yield


@contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """An empty figure of that size in inches, to be drawn on with the report's settings."""
    with _settings():
        yield Figure(figsize=(width, height), layout="constrained")


def tip(artist: Any, text: str) -> None:
    """Give a drawn shape a tooltip."""
    artist.set_gid(f"{_TIP}{text}")


def interval_row(
    axes: Any,
    place: float,
    figure: Metric,
    look: tuple[str, str],
    name: str,
    *,
    text: str,
    scale: Scale = "number",
) -> None:
    """Draw a metric from left to right: its CI as a line, its value as a mark and in words.

    Args:
        axes: of the drawing.
        place: on the vertical axis.
        figure: value and CI, 0 to 1.
        look: colour, and matplotlib's code of the mark.
        name: of the metric, for the tip.
        text: written to the right of the axes.
        scale: in which the tip has the value.
    """
    colour, marker = look
    if figure.value is None:
        axes.text(0.01, place, "not defined", va="center", color=MUTED, size=8)
        return
    span = interval(figure, scale)
    details = f"{name}: {number(figure.value, scale)}{f', CI {span}' if span else ''}"
    if figure.low is not None and figure.high is not None:
        (line,) = axes.plot(
            (figure.low, figure.high), (place, place), color=colour, lw=2.2, alpha=0.65
        )
        tip(line, details)
    (mark,) = axes.plot((figure.value,), (place,), color=colour, marker=marker, ms=6)
    tip(mark, details)
    axes.annotate(
        text, (1.0, place), xycoords=("axes fraction", "data"), xytext=(8, 0),
        textcoords="offset points", va="center", size=8.5,
    )  # fmt: skip


def shares_across(axes: Any) -> None:
    """Axes with shares from left to right, 0 to 100 %, and names at their left."""
    axes.set_xticks((0.0, 0.2, 0.4, 0.6, 0.8, 1.0))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=PERCENT))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_bounds(0, 1)
    axes.grid(visible=True, axis="x")


def label(text: str) -> str:
    """A name for a figure: one line, at most ``limits.REPORT_LABEL_CHARS`` characters.

    Control and direction characters, which XML forbids or which would turn the text around
    them, are dropped; the tables next to the figures show the whole name.
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


def _rewritten(document: str, name: str, *, href: str, colours: Mapping[str, str]) -> ET.Element:
    """A document's root without metadata and style sheet; ids begin with the figure's name."""
    root = ET.fromstring(document)
    _titled(root)
    _drop(root, {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"})
    used = set(_references(root))
    for element in root.iter():
        _rewrite(element, name, used, href, colours)
    del root.attrib["version"]
    root.set("xmlns", _SVG)
    return root


def _titled(root: ET.Element) -> None:
    """Turn the ids that :func:`tip` left into the ``<title>`` of their shapes."""
    for element in list(root.iter()):
        if element.get("id", "").startswith(_TIP):
            title = ET.Element(f"{{{_SVG}}}title")
            title.text = element.attrib.pop("id").removeprefix(_TIP)
            element.insert(0, title)


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


def _rewrite(
    element: ET.Element, name: str, used: set[str], href: str, colours: Mapping[str, str]
) -> None:
    element.tag = element.tag.rpartition("}")[2]
    attributes = dict(element.attrib)
    element.attrib.clear()
    for key, value in attributes.items():
        if key == "id":
            if value in used:
                element.set("id", f"{name}-{value}")
        elif key == f"{{{_XLINK}}}href":
            element.set(href, f"#{name}-{value.removeprefix('#')}")
        else:
            renamed = _REFERENCE.sub(rf"url(#{name}-\1)", value)
            element.set(key, _inked(renamed, colours) if key == "style" else renamed)


def _inked(style: str, colours: Mapping[str, str]) -> str:
    for colour, variable in colours.items():
        style = style.replace(colour, f"var({variable}, {colour})")
    return style
