"""Context shared by all steps of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

from pulmospark.chunks.shared_store import SharedStore
from pulmospark.config.experiment import Experiment
from pulmospark.data.cohort.split_summary import SplitResult
from pulmospark.spark.executor import SparkExecutor


@dataclass(frozen=True)
class Job:
    """Context shared by all steps of a training run."""

    experiment: Experiment
    images: Path
    cohort: Path
    split: SplitResult
    work: Path
    spark: SparkSession
    quiet: bool
    expanded: Path | None = None
    store: SharedStore | None = None
    """of a run that lies in one"""

    @property
    def executor(self) -> SparkExecutor:
        """Runs the tasks."""
        return SparkExecutor(self.spark, store=self.store)

    @property
    def engines(self) -> Path:
        """Folder of networks in the form that workers run."""
        return self.work / "engines"

    @property
    def size(self) -> int:
        """Side of the standard image, pixels."""
        return self.experiment.ingest.size

    @property
    def folds(self) -> tuple[int | None, ...]:
        """Each fold, then ``None`` for the final model."""
        return (*range(self.split.folds), None)
