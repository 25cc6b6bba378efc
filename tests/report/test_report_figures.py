"""The figures: well-formed, the same each time, and safe to stand in one page."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_pdf import FigureCanvasPdf

from pulmospark.audit.single_feature import distribution
from pulmospark.core import limits
from pulmospark.evaluation.results import Curve, Figure
from pulmospark.report import curves, figures, svg
from pulmospark.report.content import Epoch, Training, TrainingRun
from report import sample


@pytest.fixture(scope="module")
def drawings() -> dict[str, svg.Drawing]:
    return figures.draw_all(
        sample.content(cross_validation=sample.cross_validation(), audits=sample.audits())
    )


def test_every_figure_is_drawn_and_has_its_words(drawings: dict[str, svg.Drawing]) -> None:
    assert set(drawings) == {
        "trivial", "roc", "precision-recall", "reliability", "confusion", "folds",
        "training-loss", "training-accuracy", "shortcuts", "class_by_source-histogram",
        "class_by_age-histogram",
    }  # fmt: skip
    for one in drawings.values():
        ET.fromstring(one.svg)
        assert one.title
        assert len(one.alt) > 20


def test_ids_are_unique_in_the_page_and_every_reference_is_met(
    drawings: dict[str, svg.Drawing],
) -> None:
    page = "".join(one.svg for one in drawings.values())
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert ids
    assert [name for name, times in Counter(ids).items() if times > 1] == []
    referred = set(re.findall(r"url\(#([^)]+)\)", page)) | set(
        re.findall(r'href="#([^"]+)"', page)
    )
    assert referred == set(ids)


def all_but_backend() -> dict[str, object]:
    """matplotlib's settings; to read the backend would choose one."""
    return {key: mpl.rcParams[key] for key in mpl.rcParams if key != "backend"}


def test_figures_are_the_same_each_time_and_leave_matplotlib_alone(
    drawings: dict[str, svg.Drawing],
) -> None:
    before = all_but_backend()
    again = figures.draw_all(
        sample.content(cross_validation=sample.cross_validation(), audits=sample.audits())
    )
    for name, one in again.items():
        assert (one, one.svg) == (drawings[name], drawings[name].svg)
        assert one.svg_file() == drawings[name].svg_file()
        assert one.pdf_file() == drawings[name].pdf_file()
    assert all_but_backend() == before


def test_figures_hold_nothing_that_reaches_outside_them(drawings: dict[str, svg.Drawing]) -> None:
    for one in drawings.values():
        assert "<style" not in one.svg
        assert "<metadata" not in one.svg
        assert set(re.findall(r"https?://[^\"<\s]+", one.svg)) == {"http://www.w3.org/2000/svg"}


def test_values_are_shown_where_the_pointer_rests(drawings: dict[str, svg.Drawing]) -> None:
    def titles(name: str) -> list[str]:
        root = ET.fromstring(drawings[name].svg)
        return [one.text or "" for one in root.iter() if one.tag.endswith("title")]

    row = sample.evaluation().confusion[0]
    plain = [text.replace("\N{NO-BREAK SPACE}", " ") for text in titles("confusion")]
    share = 100 * row[0] / sum(row)
    assert len(plain) == 9
    assert plain[0] == (
        f"label COVID-19, predicted COVID-19: {row[0]} images, {share:.1f} % of the row"
    )
    first = sample.cross_validation().folds[0].accuracy.value
    assert f"Accuracy, fold 1: {first:.3f}" in titles("folds")
    assert "age: 0.670, CI 0.620 to 0.710" in titles("shortcuts")
    assert not any("tip:" in one.svg for one in drawings.values())


def test_a_file_of_a_figure_stands_alone(drawings: dict[str, svg.Drawing]) -> None:
    for one in drawings.values():
        document = one.svg_file()
        root = ET.fromstring(document)
        assert root.get("width", "").endswith("pt")
        assert "var(--" not in document
        assert "tip:" not in document
        assert one.pdf_file().startswith(b"%PDF-")
        assert b"/Type3" not in one.pdf_file()


def test_the_share_of_an_image_in_a_histogram_is_of_its_class() -> None:
    values = np.asarray(["a", "a", "b", None], dtype=object)
    named = distribution(values, np.asarray([0, 0, 1, 1]), ("x", "y"))
    assert (named.values, named.counts, named.unknown) == (("a", "b"), ((2, 0), (0, 1)), (0, 1))
    ages = np.asarray([0.0, 1.0, 2.0, 3.0, np.nan])
    numbers = distribution(ages, np.asarray([0, 0, 1, 1, 1]), ("x", "y"))
    assert [sum(row) for row in numbers.counts] == [2, 2]
    assert numbers.unknown == (0, 1)
    assert len(numbers.edges) == len(numbers.counts[0]) + 1
    same = distribution(np.full(3, 7.0), np.asarray([0, 0, 1]), ("x", "y"))
    assert same.counts == ((2,), (1,))
    many = distribution(
        np.asarray([str(n) for n in range(50)], dtype=object), np.zeros(50, np.int64), ("x",)
    )
    assert many.values[-1] == "all other"
    assert sum(many.counts[0]) == 50


def test_confusion_is_told_in_words(drawings: dict[str, svg.Drawing]) -> None:
    row = sample.evaluation().confusion[0]
    assert f"Of 48 images of COVID-19: {row[0]} as COVID-19" in drawings["confusion"].alt


NASTY = [
    "<script>alert(1)</script>",
    "a\"b'c&d",
    "$x_{",
    "😷🫁",
    "\u202e\u05d4\u05d0",
    "x" * 200,
    "\x00\x1b",
]


@pytest.mark.filterwarnings("error")
def test_any_class_name_can_be_drawn() -> None:
    counts = (20,) * len(NASTY)
    drawn = figures.draw_all(
        sample.content(evaluation=sample.evaluation(counts, tuple(NASTY)), training=None)
    )
    for one in drawn.values():
        assert one.pdf_file().startswith(b"%PDF-")
        ET.fromstring(one.svg_file())
        root = ET.fromstring(one.svg)
        assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}
        assert "\u202e" not in one.svg


@given(st.text(st.characters()))
def test_labels_are_one_short_line_that_xml_allows(text: str) -> None:
    shown = svg.label(text)
    assert 0 < len(shown) <= limits.REPORT_LABEL_CHARS
    ET.fromstring(f"<a>{shown.replace('&', '&amp;').replace('<', '&lt;')}</a>")
    assert "\n" not in shown


def test_a_class_without_curves_is_left_out_and_an_empty_evaluation_draws_little() -> None:
    one = sample.evaluation()
    nothing = Curve(x=(), y=())
    bare = tuple(
        figures_of.model_copy(update={"roc": nothing, "auroc": Figure(value=None)})
        for figures_of in one.by_class
    )
    some = one.model_copy(update={"by_class": (*one.by_class[:2], bare[2])})
    drawing = curves.roc(some)
    assert drawing is not None
    assert "normal" not in drawing.alt
    assert "2 of 3 classes" in drawing.caption
    assert curves.roc(one.model_copy(update={"by_class": bare})) is None
    assert figures.confusion(one.model_copy(update={"confusion": ((0, 0), (0, 0))})) is None
    assert figures.reliability(one.model_copy(update={"reliability": ()})) is None
    assert figures.trivial_rules(one.model_copy(update={"trivial": None})) is None


def test_many_classes_are_drawn_up_to_the_palette() -> None:
    names = tuple(f"class {index}" for index in range(20))
    one = sample.evaluation((12,) * 20, names)
    drawing = curves.roc(one)
    assert drawing is not None
    assert f"{limits.REPORT_CURVES_MAX} of 20 classes" in drawing.caption
    assert figures.confusion(one) is not None


def test_a_diverged_training_is_drawn_without_nan() -> None:
    epochs = tuple(
        Epoch(epoch=at, loss=loss, seconds=1) for at, loss in ((1, 2.0), (2, float("nan")))
    )
    training = Training(
        method="m", model="n", runs=(TrainingRun(epochs=epochs), TrainingRun(objective=(1.0, 0.5)))
    )
    drawn = [one for one in curves.training_curves(training) if one is not None]
    assert [one.name for one in drawn] == ["training-loss", "training-objective"]
    assert "nan" not in drawn[0].alt + drawn[0].svg


def test_glyphs_in_a_pdf_are_those_of_the_whole_font(drawings: dict[str, svg.Drawing]) -> None:
    """Fonts are embedded without their layout tables; matplotlib itself keeps these."""
    one = drawings["confusion"]
    out = io.BytesIO()
    with mpl.rc_context(svg._SETTINGS):
        nothing = dict.fromkeys(("Creator", "Producer", "CreationDate"))
        FigureCanvasPdf(one.figure).print_pdf(out, metadata=nothing)
    ours, theirs = (list(glyphs_of(pdf)) for pdf in (one.pdf_file(), out.getvalue()))
    assert len(ours) > 10
    assert ours == theirs
    assert len(one.pdf_file()) < len(out.getvalue())


def glyphs_of(pdf: bytes) -> Iterator[tuple[int, int, Any]]:
    """Code, advance and outline of every glyph that a PDF embeds."""
    font: TTFont | None = None
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        stream = zlib.decompress(packed)
        if stream[:4] == b"\0\1\0\0":
            font = TTFont(io.BytesIO(stream))
        elif font is not None:  # after each font, the codes' glyphs
            for code, (glyph,) in enumerate(struct.iter_unpack(">H", stream)):
                name = font.getGlyphName(glyph)
                if glyph:
                    points = font["glyf"][name].getCoordinates(font["glyf"])[0]
                    yield code, font["hmtx"][name][0], list(points)
            font = None
