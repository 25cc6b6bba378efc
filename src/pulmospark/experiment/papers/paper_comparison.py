"""A reproduced experiment for its report: the paper's accuracy and ours, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulmospark.report.paper_content import BesidePaper, PaperFigure

if TYPE_CHECKING:
    from pulmospark.experiment.papers.leak import LeakyArm
    from pulmospark.experiment.papers.reproduce import Reproduction


def beside_paper(result: Reproduction) -> BesidePaper:
    """What the report shows of a reproduction."""
    return BesidePaper(
        source=result.source,
        figures=_figures(result),
        remarks=() if result.leak is None else _of_leak(result, result.leak),
        smaller=result.smaller,
        guessed=result.guessed,
    )


def points_between(result: Reproduction, leak: LeakyArm) -> str | None:
    """Difference between the leak and ours, in percentage points; ``None``: undefined."""
    ours, theirs = result.accuracy.value, leak.accuracy.value
    if ours is None or theirs is None:
        return None
    balanced = (leak.balanced_accuracy.value or 0.0) - (result.balanced_accuracy.value or 0.0)
    return (
        f"{100 * (theirs - ours):+.1f} points of accuracy, {100 * balanced:+.1f} of balanced "
        "accuracy"
    )


def _figures(result: Reproduction) -> tuple[PaperFigure, ...]:
    published = PaperFigure(
        what="published",
        about="" if result.published_low is None else "CI as though images were independent",
        accuracy=result.published,
        low=result.published_low,
        high=result.published_high,
        right=result.published_right,
        of=result.published_images,
    )
    figure, leak = result.accuracy, result.leak
    ours = PaperFigure(
        what="here",
        about="" if leak is None else "split before augmenting: no image is on both sides",
        accuracy=figure.value,
        low=figure.low,
        high=figure.high,
        right=figure.numerator,
        of=figure.denominator,
    )
    if leak is None:
        return published, ours
    shown = PaperFigure(
        what="LEAK, no result",
        about="split after augmenting, as the paper does",
        accuracy=leak.accuracy.value,
        right=leak.accuracy.numerator,
        of=leak.accuracy.denominator,
        is_result=False,
    )
    return published, ours, shown


def _of_leak(result: Reproduction, leak: LeakyArm) -> tuple[str, ...]:
    remarks = [f"The leak has no CI: {leak.why}."]
    images = leak.on_images
    if images.value is not None:
        remarks.append(
            f"On its rows that are unaugmented images, it classified {images.numerator:,} of "
            f"{images.denominator:,} correctly ({images.value:.1%})."
        )
    if (between := points_between(result, leak)) is not None:
        remarks.append(f"Leak minus ours: {between}.")
    return tuple(remarks)
