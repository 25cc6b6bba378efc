"""What the report shows of a published experiment that was repeated, as plain frozen values."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pulmospark.evaluation.results import Result
from pulmospark.report.safe_text import Text

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class PaperFigure(Result):
    """One accuracy of the comparison."""

    what: Text
    about: Text = ""
    """a few words below it"""
    accuracy: Share | None
    low: Share | None = None
    high: Share | None = None
    """``None``: there is no interval, or it would mean nothing"""
    right: int | None = None
    of: int | None = None
    """images, or rows"""
    is_result: bool = True
    """``False``: made on purpose to show a leak"""


class BesidePaper(Result):
    """The paper's figure, ours, and what stands between them."""

    source: Text
    figures: tuple[PaperFigure, ...]
    remarks: tuple[Text, ...] = ()
    """sentences below the figures"""
    smaller: tuple[Text, ...] = ()
    """where the data at hand is smaller than the paper's"""
    guessed: tuple[Text, ...] = ()
    """what the paper leaves open, and what was taken"""
