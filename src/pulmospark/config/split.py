"""Settings of the split: shares or folds, views, near copies and balance."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from pulmospark.config.base import Fraction, Names, Settings
from pulmospark.core.schemas import View
from pulmospark.core.suggestions import did_you_mean


class ImagesPerSplit(Settings):
    """Number of images of one class in each split."""

    train: Annotated[int, Field(ge=1)]
    """images that the model is trained on"""
    validation: Annotated[int, Field(ge=0)] = 0
    """images from which temperature and operating point are chosen"""
    test: Annotated[int, Field(ge=1)]
    """images that the model is tested on"""

    @property
    def total(self) -> int:
        """Images of all splits."""
        return self.train + self.validation + self.test


class SplitSettings(Settings):
    """How patients are split into training, validation and test."""

    train: Fraction = 0.7
    """share of the patients in the training split; with folds, the images that are neither tested
    on nor used for validation"""
    validation: Fraction = 0.1
    """share in the validation split, for a CNN's epoch, temperature and operating point; with
    folds, of the images that are not tested on. The method ``features`` trains on these, too, and
    chooses by out-of-fold scores of all that it trains on"""
    test: Fraction = 0.2
    """share in the test split; not used with folds, where each fold is tested on once"""
    folds: Annotated[int, Field(ge=0, le=100)] = 0
    """k of k-fold cross-validation; 0: one split"""
    images: dict[str, ImagesPerSplit] = Field(default_factory=dict)
    """class -> maximum number of its images in each split, instead of shares; whole patients,
    drawn from the seed. If a class has fewer images, its splits shrink in proportion; surplus
    images are excluded. Not with folds"""
    views: Names = ("PA", "AP", "AP supine", "frontal", "unknown")
    """views to include; lateral images and CT slices are excluded unless named"""

    copies: Literal["together", "drop", "ignore"] = "together"
    """near copies, as the audit finds them: ``together`` keeps them in the same split or fold;
    ``drop`` keeps one of each, and none if their classes differ; ``ignore`` lets a tested image
    have a copy in the training split"""
    balance: Literal["none", "source", "age", "sex", "view"] = "none"
    """excludes images so that this no longer predicts the class: each source (ten-year age band,
    sex, view) keeps as many images of each class as it has of its rarest class"""

    @field_validator("views")
    @classmethod
    def _known_views(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in list(View):
                raise ValueError(
                    f"no view {name!r}{did_you_mean(name, View)}: choose from {', '.join(View)}"
                )
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}, but must be 1")
        if self.folds == 1:
            raise ValueError("folds is 1: use 0 for one split, or at least 2")
        if self.folds and self.images:
            raise ValueError("images is for one split and does not go with folds: give only one")
        return self
