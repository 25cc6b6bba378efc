"""The content: what it refuses, what it cleans, and that it travels as JSON."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pulmospark.core import limits
from pulmospark.report.content import Count, ExampleImage, ReportContent
from pulmospark.report.safe_text import clean_text
from pulmospark.report.thumbnails import thumbnail
from report import sample


def test_content_travels_as_json() -> None:
    content = sample.content(cross_validation=sample.cross_validation())
    assert ReportContent.model_validate_json(content.model_dump_json()) == content


@given(st.text(st.characters(), max_size=50) | st.text(st.characters(categories=["Cs", "Cc"])))
def test_cleaned_text_can_always_be_written_and_shows_all_that_was_there(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert "\x00" not in cleaned
    assert "\x1b" not in cleaned
    assert len(cleaned) >= len(text)
    assert clean_text(cleaned) == cleaned


def test_undecodable_names_are_taken_as_their_escapes() -> None:
    assert Count(name="a\udcff.png", count=1).name == "a\\udcff.png"
    assert Count(name="a\u202egpj.exe", count=1).name == "a\\u202egpj.exe"
    nested = sample.content(provenance={"settings": {"path": ["b\udc80"]}})
    assert nested.provenance == {"settings": {"path": ["b\\udc80"]}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<svg onload='x'>", "neither PNG nor JPEG"),
        (b"\xff\xd8\xff" + bytes(limits.REPORT_THUMBNAIL_BYTES_MAX), "make it smaller"),
    ],
)
def test_a_thumbnail_is_a_small_png_or_jpeg(data: bytes, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExampleImage(
            thumbnail=data, image_id="0", label="a", prediction="a", probability=1.0, source="s"
        )


def test_thumbnails_keep_the_shape_and_stay_below_the_limit() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (900, 450), dtype=np.uint8)
    small = thumbnail(noise)
    assert len(small) < limits.REPORT_THUMBNAIL_BYTES_MAX
    from io import BytesIO

    from PIL import Image

    image = Image.open(BytesIO(small))
    assert image.size == (112, 224)
    assert image.mode == "L"


def test_a_thumbnail_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        thumbnail(np.zeros((4, 4, 3), dtype=np.uint8))


def test_more_images_than_the_page_has_room_for_are_refused() -> None:
    with pytest.raises(ValidationError, match="at most 12"):
        sample.content(right=(*sample.images(right=True), sample.images(right=True)[0]))
