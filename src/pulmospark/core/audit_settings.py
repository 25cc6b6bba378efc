"""Settings of the audits: what is run, and from where on it warns or fails."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.near_names import did_you_mean
from pulmospark.core.settings_base import Fraction, Names, Settings

AUDITS = (
    "exact_duplicates", "near_duplicates", "label_conflict", "class_by_source", "class_by_age",
    "class_by_sex", "class_by_view", "class_by_size", "class_by_format", "class_by_compression",
    "class_by_border", "class_by_brightness",
    "augmented", "patients", "guessed_views", "support", "children", "subgroups", "calibration",
    "covered_lungs", "letters", "source_in_features", "left_out_source", "unlike_films",
    "never_shown", "heat_maps",
)  # fmt: skip
"""names of all audits; here, so that one that is to be skipped is checked without Spark"""

PHANTOM_COPIES: dict[str, Any] = {"hash_distance": 4, "copy_correlation": 0.93}
"""how near phantoms are looked for, unless the user says otherwise: drawn chests are more alike
than people's, thousands of them are near further off, and two of them have to fit better than two
images to be one picture"""


class AuditSettings(Settings):
    """Audits of a data set, a split and a model."""

    enabled: bool = True
    """``pulmospark run`` audits before it prints an accuracy"""
    costly: bool = False
    """also those that score or train again: lungs blacked out, one source left out"""
    strict: bool = False
    """a failed audit ends the run with exit code 5, after the report is written"""
    skip: Names = ()
    """names of audits that are left out; the report says so"""
    hash_distance: Annotated[int, Field(ge=0, le=limits.NEAR_DISTANCE_MAX)] = 12
    """bits of 64 in which the perceptual hashes of two films may differ for them to be compared
    further; up to 7 every such pair is found, beyond it most. It is always even"""
    pairs_max: Annotated[int, Field(ge=1, le=limits.NEAR_PAIRS_MAX)] = 50_000
    """pairs with near hashes that are compared, the nearest first: some minute of two cores for
    50,000; the audit tells up to which distance it came"""
    copy_correlation: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.88
    """correlation of the details of two films, laid over each other, from which they are called
    one film; other films of the same patient reach 0.7, and of copies known by hand 19 in 20 have
    0.85 and more"""
    leak_share: Fraction = 0.01
    """share of tested films with a copy among those trained on, above which it fails: accuracy
    can be off by as much, and differences of a point are what papers report"""
    conflict_share: Fraction = 0.005
    """share of films that have a copy of another class, above which it fails"""
    thing_warn: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.6
    """AUROC that one thing beside the image may reach (lower bound) without a warning"""
    thing_fail: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.7
    """AUROC of one thing (lower bound) from which it fails: from 0.7 on a discrimination is
    called acceptable (Hosmer and Lemeshow), and no such thing should pass for a test of disease"""
    child_years: Annotated[float, Field(gt=0.0)] = 18.0
    """age below which a person is a child, years"""
    interval_width: Annotated[float, Field(gt=0.0, le=1.0)] = 0.10
    """width of the interval of a class's sensitivity above which it warns; it fails above twice
    that"""
    subgroup_gap: Annotated[float, Field(gt=0.0, le=1.0)] = 0.10
    """accuracy by which a subgroup may fall behind the rest without a warning"""
    calibration_gap: Annotated[float, Field(gt=0.0, le=1.0)] = 0.10
    """distance between mean probability and share right that a source may have without a
    warning"""
    replicates: Annotated[int, Field(ge=100, le=100_000)] = 200
    """bootstrap replicates over patients"""


def check_skip(settings: AuditSettings) -> None:
    """Check the names of the audits that are to be skipped; needs neither data nor Spark.

    Raises:
        UsageError: there is no such audit.
    """
    for name in settings.skip:
        if name not in AUDITS:
            raise UsageError(
                f"audit.skip: there is no audit {name!r}{did_you_mean(name, AUDITS)}: the audits "
                f"are {', '.join(AUDITS)}"
            )
