"""What the page of an external validation shows, as plain frozen values."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field

from pulmospark.evaluation.recalibrate import Recalibration
from pulmospark.evaluation.results import Evaluation, Result
from pulmospark.report.content import Natural
from pulmospark.report.safe_text import Text, clean_text


class Column(NamedTuple):
    """An evaluation, and what it is called."""

    key: str
    """``inside``, ``elsewhere`` or ``recalibrated``"""
    title: str
    evaluation: Evaluation


class ExternalPage(Result):
    """A model's performance on external images, next to that on its own test set."""

    title: Text
    """what the images from elsewhere are called"""
    made_at: datetime
    is_phantom: bool
    """the images from elsewhere were drawn"""
    inside_is_phantom: bool = False
    """the images that it was made from were drawn"""
    model: Text
    """name of the network"""
    model_id: Text
    inside: Evaluation | None
    """``None``: the bundle was never evaluated"""
    outside: Evaluation
    recalibrated: Evaluation | None = None
    recalibration: Recalibration | None = None
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    """of the bundle as it is"""
    sources: tuple[Text, ...] = ()
    """names of the data sets from elsewhere"""
    mapping: tuple[tuple[Text, tuple[Text, ...]], ...] = ()
    """class and its findings, where they were mapped"""
    images_without_patient: Natural = 0
    """of the images from elsewhere"""
    left_out: tuple[tuple[Text, Natural], ...] = ()
    """why images took no part, and how many"""
    training_copies: Text = ""
    """whether images of the set are copies of training images, in a sentence"""
    provenance: Annotated[dict[str, Any], BeforeValidator(clean_text)] = Field(
        default_factory=dict
    )

    @property
    def columns(self) -> tuple[Column, ...]:
        """The evaluations that there are, that from inside first."""
        columns = (
            ("inside", "Inside", self.inside),
            ("elsewhere", "Elsewhere", self.outside),
            ("recalibrated", "Elsewhere, recalibrated", self.recalibrated),
        )
        return tuple(
            Column(key, title, evaluation)
            for key, title, evaluation in columns
            if evaluation is not None
        )
