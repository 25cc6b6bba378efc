"""The results of a whole run."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

from pulmospark.audit.results import AuditReport
from pulmospark.core.records import Record
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.data.expand.table import ExpandResult
from pulmospark.data.ingest.ingest import IngestResult
from pulmospark.experiment.evaluate import EvaluateResult
from pulmospark.training.results import TrainResult


class RunResult(Record):
    """The results of a whole run."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    report: Path
    bundle: Path
    seconds: float
    """from files to report, excluding the start of Spark"""
    ingest: IngestResult
    split: SplitResult
    expand: ExpandResult | None = None
    """``None``: the experiment has no ``expand``"""
    train: TrainResult
    evaluate: EvaluateResult
    audit: AuditReport | None = None
    """``None``: ``audit.enabled`` is false"""
