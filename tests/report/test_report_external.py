"""The page of an external validation: inside beside elsewhere, and what a recalibration did."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pulmospark
from pulmospark.evaluation.recalibrate import Recalibration
from pulmospark.report.external import headline, render_external_page, warnings
from pulmospark.report.external_content import ExternalPage
from report import sample
from report.outline import Outline

_SMALL = (12, 180, 140)


def page_content(**changes: object) -> ExternalPage:
    """A page with everything on it; any field may be given another value."""
    fields: dict[str, object] = {
        "title": "other-hospital",
        "made_at": datetime(2026, 1, 5, 10, 24, tzinfo=UTC),
        "is_phantom": False,
        "model": "mobilenet_v2",
        "model_id": "0123456789abcdef" * 4,
        "inside": sample.evaluation(),
        "outside": sample.evaluation(_SMALL, sharpness=1.2, seed=3),
        "recalibrated": sample.evaluation(_SMALL, sharpness=1.3, seed=3),
        "recalibration": Recalibration(temperature=1.9, offsets=(-0.41, 0.3, 0.11), images=71),
        "temperature": 1.24,
        "sources": ("ward", "clinic"),
        "mapping": (("COVID-19", ("COVID*",)), ("normal", ("Normal", "No Finding"))),
        "images_without_patient": 12,
        "left_out": (("finding of no class", 31), ("in the local sample", 71)),
        "provenance": sample.provenance(),
    }
    return ExternalPage.model_validate(fields | changes)


def test_the_page_is_whole_fetches_nothing_and_says_what_it_is() -> None:
    page = render_external_page(page_content())
    outline = Outline(page)
    assert outline.open == []
    ids = [value for _, name, value in outline.attributes if name == "id"]
    assert len(ids) == len(set(ids))  # three reliability diagrams among them
    for tag, name, value in outline.attributes:
        assert not name.startswith("on")
        if name in {"src", "href", "srcset"}:
            assert value.startswith(("data:image/", "#")), (tag, name)
    assert "script" not in {shape[0] for shape in outline.shape}
    assert page.count(pulmospark.NOT_A_MEDICAL_DEVICE) == 2
    figures = [shape for shape in outline.shape if shape[0] == "figure"]
    assert len(figures) == 1 + 3 + 2


def test_figures_stand_side_by_side_with_their_intervals() -> None:
    content = page_content()
    page = render_external_page(content)
    row = page[page.index('scope="row"><bdi>Accuracy<') :]
    row = row[: row.index("</tr>")]
    for _, _, told in content.columns:
        value, low = told.accuracy.value, told.accuracy.low
        assert value is not None
        assert low is not None
        assert f"{100 * value:.1f}\N{NO-BREAK SPACE}%" in row
        assert f"{100 * low:.1f} to" in row
    assert "temperature of 1.900 instead of 1.240" in page
    assert "on the recalibrated probabilities, for which it was not chosen" in page
    assert "<bdi>COVID-19</bdi> \N{MINUS SIGN}0.41" in page
    assert "finding of no class" in page


def test_without_inside_or_recalibration_there_is_one_column() -> None:
    content = page_content(inside=None, recalibrated=None, recalibration=None, left_out=())
    assert [column.key for column in content.columns] == ["elsewhere"]
    page = render_external_page(content)
    assert "Inside: " not in page
    assert "for which it was not chosen" not in page
    assert "Not compared" in page
    assert "--recalibrate N" in page
    assert "No image was excluded" in page


def test_phantoms_are_called_so_and_few_images_are_warned_of() -> None:
    content = page_content(is_phantom=True, inside_is_phantom=True)
    page = render_external_page(content)
    assert "Phantoms, not patients." in page
    assert "synthetic patient" in page
    own = re.sub(r"<svg\b.*?</svg>", "", page, flags=re.DOTALL)
    assert not re.search(r"[0-9] images?\b", "".join(Outline(own).text))
    told = " ".join(warnings(page_content(inside_is_phantom=True)))
    assert "has 12 tested images" in told
    assert "from inside are of phantoms" in told
    assert "No patient is known for 12 images" in told


def test_the_headline_tells_both() -> None:
    content = page_content(images_without_patient=0)
    outside, inside = content.outside, content.inside
    assert inside is not None
    text = headline(content)
    assert text.startswith(f"External test set: 332 images of {outside.groups} patients. ")
    assert f"Inside: {100 * (inside.accuracy.value or 0):.1f}\N{NO-BREAK SPACE}%" in text


def test_names_from_outside_are_escaped() -> None:
    name = "<script>alert(1)</script>"
    page = render_external_page(
        page_content(title=name, sources=(name,), mapping=((name, (name,)),), model=name,
                     left_out=((name, 1),))
    )  # fmt: skip
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
