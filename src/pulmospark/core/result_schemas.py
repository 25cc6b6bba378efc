"""The tables of results, metrics and audits: names, types, units and meaning, in one place.

Rows of many runs can be united: each names its run, cohort and model.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from pulmospark.core.hashing import value_id

_RUN = [
    pa.field("run_id", pa.string(), nullable=False),  # of name and cohort; in both tables
    pa.field("run", pa.string(), nullable=False),  # name of an experiment, table or external set
    pa.field("cohort_id", pa.string()),  # SHA-256 of the split; null: there was none
]

METRICS = pa.schema(
    [
        *_RUN,
        pa.field("model_id", pa.string(), nullable=False),  # of the bundle
        pa.field("model", pa.string(), nullable=False),  # the network's name
        pa.field("level", pa.string(), nullable=False),  # "image", "scan" or "patient"
        pa.field("fold", pa.int32()),  # 0 to k-1; null: all that was tested, folds pooled
        pa.field("subject", pa.string(), nullable=False),  # "model", "operating_point", "baseline"
        pa.field("class_name", pa.string()),  # class against the rest; null: over all classes
        pa.field("metric", pa.string(), nullable=False),  # its name in the reference of metrics
        pa.field("value", pa.float64()),  # null: not defined
        pa.field("low", pa.float64()),  # lower bound of the CI; null: there is none
        pa.field("high", pa.float64()),  # upper bound
        pa.field("confidence", pa.float64()),  # of the CI: 0.95; null: there is none
        pa.field("ci_method", pa.string(), nullable=False),  # "wilson", "bootstrap", ..., "none"
        pa.field("unit", pa.string(), nullable=False),  # "fraction" (0 to 1) or "number"
        pa.field("undefined", pa.string()),  # why there is no value; null: there is one
        pa.field("note", pa.string()),  # why there is no CI, or which rule gave it
        pa.field("n", pa.int64(), nullable=False),  # images, scans or patients of the evaluation
        pa.field("support", pa.int64()),  # those of the class; null: over all classes
        pa.field("numerator", pa.int64()),  # of a plain proportion
        pa.field("denominator", pa.int64()),  # of a plain proportion
        pa.field("effective_n", pa.float64()),  # independent images the denominator is worth
        pa.field("groups", pa.int64()),  # patients in the denominator
        pa.field("evaluated_at", pa.timestamp("us", tz="UTC"), nullable=False),  # when
    ]
)
"""One row per metric, class, level and fold of an evaluation."""

_MEASURES = pa.list_(
    pa.struct(
        [
            ("measure", pa.string()),
            ("value", pa.float64()),
            ("low", pa.float64()),
            ("high", pa.float64()),
            ("unit", pa.string()),
        ]
    )
)

AUDITS = pa.schema(
    [
        *_RUN,
        pa.field("model_id", pa.string()),  # of the model at hand; null: there was none
        pa.field("audit", pa.string(), nullable=False),  # its name in the settings
        pa.field("title", pa.string(), nullable=False),  # its name in the report
        pa.field("verdict", pa.string(), nullable=False),  # "fail", ..., "not run"
        pa.field("sentence", pa.string(), nullable=False),  # the finding in one sentence
        pa.field("not_assessable", pa.string()),  # what is missing, or why it did not run
        pa.field("measure", pa.string()),  # what value is of, the first one the report shows
        pa.field("value", pa.float64()),  # null: not measured, or not defined
        pa.field("low", pa.float64()),  # lower bound of the CI; null: there is none
        pa.field("high", pa.float64()),  # upper bound
        pa.field("unit", pa.string()),  # "fraction" (0 to 1) or "number"
        pa.field("measures", _MEASURES, nullable=False),  # all of them, the first included
        pa.field("threshold", pa.string(), nullable=False),  # when it warns and when it fails
        pa.field("why", pa.string(), nullable=False),  # reason for that threshold
        pa.field("remedy", pa.string(), nullable=False),  # what to do about it; empty if passed
        pa.field("images", pa.int64(), nullable=False),  # that were audited
        pa.field("seconds", pa.float64(), nullable=False),  # that it took
        pa.field("audited_at", pa.timestamp("us", tz="UTC"), nullable=False),  # when
    ]
)
"""One row per audit that there is, also of those that could not be assessed or did not run."""


@dataclass(frozen=True)
class ResultOf:
    """What the rows of a result belong to.

    Attributes:
        run: name of the experiment, a bare table, or an external set.
        cohort_id: of the split; ``None``: of a bare table or an external set.
        at: when the result was computed, in UTC.
    """

    run: str
    cohort_id: str | None
    at: datetime

    def columns(self) -> dict[str, Any]:
        """The columns that both tables begin with."""
        run_id = value_id([self.run, self.cohort_id])
        return {"run_id": run_id, "run": self.run, "cohort_id": self.cohort_id}
