"""Settings of the audits: which run, and their thresholds for a warning or failure."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from pulmospark.config.base import Fraction, Names, Settings
from pulmospark.core import limits
from pulmospark.core.records import current_name

PHANTOM_COPIES: dict[str, Any] = {"hash_distance": 4, "copy_correlation": 0.93}
"""thresholds for near copies among phantoms, unless the user sets others: phantoms resemble each
other more than patients do, so thousands have similar hashes, and two must match better to be
one image"""


EARLIER_AUDITS = {"letters": "burned_in_text"}
"""audits by the names of earlier versions -> as they are now"""


class AuditSettings(Settings):
    """Audits of a data set, a split and a model."""

    dropped: ClassVar[frozenset[str]] = frozenset({"with_table"})

    enabled: bool = True
    """``pulmospark run`` audits before it prints an accuracy"""
    costly: bool = False
    """also those that score or train again: lungs blacked out, one source excluded"""
    strict: bool = False
    """a failed audit ends the run with exit code 5, after the report is written"""
    skip: Names = ()
    """names of audits to skip; the report lists them"""
    hash_distance: Annotated[int, Field(ge=0, le=limits.NEAR_DISTANCE_MAX)] = 12
    """maximum Hamming distance, in bits of 64, between the perceptual hashes of two images that
    are
    compared further; up to 7 it finds every such pair, beyond it most. Always even"""
    pairs_max: Annotated[int, Field(ge=1, le=limits.NEAR_PAIRS_MAX)] = 50_000
    """pairs with similar hashes that are compared, nearest first: about a minute on two cores for
    50,000; the audit reports the distance it reached"""
    copy_correlation: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.88
    """correlation of the details of two overlaid images from which they count as copies; different
    images of one patient reach 0.7, and 19 in 20 copies identified by hand have at least 0.85"""
    leak_share: Fraction = 0.01
    """share of tested images with a copy in the training split above which the audit fails:
    accuracy can be off by as much, and papers report differences of one point"""
    conflict_share: Fraction = 0.005
    """share of images with a copy of another class above which the audit fails"""
    thing_warn: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.6
    """AUROC that a single non-image feature may reach (lower bound) without a warning"""
    thing_fail: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.7
    """AUROC of such a feature (lower bound) from which the audit fails: 0.7 is called acceptable
    discrimination (Hosmer and Lemeshow), which only the disease should reach"""
    child_years: Annotated[float, Field(gt=0.0)] = 18.0
    """age below which a person is a child, years"""
    interval_width: Annotated[float, Field(gt=0.0, le=1.0)] = 0.10
    """width of the CI of a class's sensitivity above which the audit warns; above twice that it
    fails"""
    subgroup_gap: Annotated[float, Field(gt=0.0, le=1.0)] = 0.10
    """accuracy by which a subgroup may fall below the rest without a warning"""
    calibration_gap: Annotated[float, Field(gt=0.0, le=1.0)] = 0.10
    """difference between mean probability and accuracy that a source may have without a
    warning"""
    replicates: Annotated[int, Field(ge=100, le=100_000)] = 200
    """bootstrap replicates over patients"""

    @field_validator("skip")
    @classmethod
    def _by_present_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Audits of earlier versions under the names that they have now."""
        return tuple(EARLIER_AUDITS.get(name, current_name(name)) for name in names)
