"""The stages of an experiment, each on the run's folder, and all of them in order.

A stage's libraries are imported when it runs: ingest needs neither torch nor matplotlib, and what
only reads results needs neither of them.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.progress import stage
from pulmospark.experiment.run_folder import (
    RunFolder,
    locked,
    note_seconds,
    published,
    save_settings,
    shared_store,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pulmospark.audit.results import AuditReport
    from pulmospark.chunks import Executor, Workers
    from pulmospark.chunks.shared_store import SharedStore
    from pulmospark.config.experiment import Experiment
    from pulmospark.data.cohort.split_summary import SplitResult
    from pulmospark.data.expand.table import ExpandResult
    from pulmospark.data.ingest.ingest import IngestResult
    from pulmospark.experiment.evaluate import EvaluateResult
    from pulmospark.experiment.run_result import RunResult
    from pulmospark.training.results import TrainResult


_STAGES = (
    "pulmospark.data.ingest.ingest",
    "pulmospark.data.cohort.split",
    "pulmospark.training.train",
    "pulmospark.experiment.evaluate",
    "pulmospark.experiment.audit",
    "pulmospark.experiment.run_result",
    "pulmospark.report.page",
)


def import_stages() -> None:
    """Import the stages, seconds of a processor, before they run: while Spark starts."""
    for name in _STAGES:
        importlib.import_module(name)


def run_ingest(
    experiment: Experiment, run: RunFolder, workers: Workers | SparkSession, *, quiet: bool = False
) -> IngestResult:
    """Ingest: see :func:`pulmospark.data.ingest.ingest.ingest`."""
    from pulmospark.data.ingest.ingest import ingest

    with _stage(experiment, run, "ingest", quiet=quiet) as store:
        return ingest(
            experiment.sources, experiment.ingest, run.tables, workers, store=store, quiet=quiet
        )


def run_split(
    experiment: Experiment, run: RunFolder, workers: Workers | SparkSession, *, quiet: bool = False
) -> SplitResult:
    """Split: see :func:`pulmospark.data.cohort.split.split`."""
    from pulmospark.data.cohort.split import split
    from pulmospark.data.ingest.ingest import read_ingest
    from pulmospark.experiment.near_copies import near_copy_search
    from pulmospark.spark.engine_choice import workers_of

    with _stage(experiment, run, "split", quiet=quiet) as store:
        ingested = read_ingest(run.tables)
        executor = _sharing(workers_of(workers).executor_for(ingested.images), run, store)
        return split(
            ingested,
            experiment.classes,
            experiment.split,
            run.cohort,
            seed=experiment.seed,
            search=near_copy_search(experiment, run, executor, quiet=quiet),
        )


def run_expand(
    experiment: Experiment, run: RunFolder, spark: SparkSession, *, quiet: bool = False
) -> ExpandResult | None:
    """Expand: see :func:`pulmospark.data.expand.expand.expand`; ``None`` if not requested."""
    if experiment.expand is None:
        return None
    from pulmospark.data.expand.expand import expand
    from pulmospark.spark.executor import SparkExecutor

    with _stage(experiment, run, "expand", quiet=quiet) as store:
        _sharing(SparkExecutor(spark), run, store)
        return expand(
            run.tables / "images",
            run.cohort,
            experiment.expand,
            run.expanded,
            spark,
            seed=experiment.seed,
            store=store,
            quiet=quiet,
        )


def run_train(
    experiment: Experiment, run: RunFolder, spark: SparkSession, *, quiet: bool = False
) -> TrainResult:
    """Train: see :func:`pulmospark.training.train.train`."""
    from pulmospark.experiment.tracking import check_store, followed
    from pulmospark.spark.executor import SparkExecutor
    from pulmospark.training.train import train

    check_store(experiment)
    with (
        _stage(experiment, run, "train", quiet=quiet) as store,
        followed(experiment, run) as finish,
    ):
        _sharing(SparkExecutor(spark), run, store)
        result = train(
            experiment,
            spark,
            tables=run.tables,
            cohort=run.cohort,
            target=run.training,
            bundle=run.bundle,
            store=store,
            quiet=quiet,
        )
        finish(result)
        return result


def run_evaluate(experiment: Experiment, run: RunFolder, *, quiet: bool = False) -> EvaluateResult:
    """Evaluate: see :func:`pulmospark.experiment.evaluate.evaluate`; needs no Spark."""
    from pulmospark.experiment.evaluate import evaluate

    with _stage(experiment, run, "evaluate", quiet=quiet):
        return evaluate(experiment, run)


def run_audit(
    experiment: Experiment,
    run: RunFolder,
    spark: SparkSession,
    *,
    bundle: Path | None = None,
    quiet: bool = False,
) -> AuditReport:
    """Audit: see :func:`pulmospark.experiment.audit.audit_run`."""
    from pulmospark.experiment.audit import audit_run
    from pulmospark.spark.executor import SparkExecutor

    with _stage(experiment, run, "audit", quiet=quiet) as store:
        _sharing(SparkExecutor(spark), run, store)
        return audit_run(experiment, run, spark, bundle=bundle, store=store, quiet=quiet)


def run_report(experiment: Experiment, run: RunFolder, *, quiet: bool = False) -> Path:
    """Write the report from the other stages' outputs, and track the run; needs no Spark.

    Raises:
        InputError: an earlier stage is missing.
        PlatformError: the tracking store cannot be written; the report has been.
    """
    from pulmospark.experiment.tracking import track

    with stage("report", quiet=quiet), published(run):
        page = write_page(experiment, run)
        track(experiment, run)
    return page


def write_page(experiment: Experiment, run: RunFolder) -> Path:
    """Write the report, its files for a paper and the checklist, and track nothing.

    Raises:
        InputError: an earlier stage is missing.
    """
    if not (run.evaluation / "evaluation.json").is_file():
        raise InputError(f"{run.root}: not evaluated yet: run `pulmospark evaluate` first")
    from pulmospark.audit.claim_checklist import as_markdown
    from pulmospark.chunks.parts import parts_of
    from pulmospark.experiment.report_data.collect import report_content
    from pulmospark.report.page import write_report
    from pulmospark.report.phantom_wording import phantom_words

    content = report_content(experiment, run)
    write_report(content, run.report, parts_of(run.evaluation / "predictions"))
    checklist = as_markdown(content.claim, experiment.name)
    files.write_text(run.claim, phantom_words(checklist) if experiment.phantoms else checklist)
    return run.report


def run_all(
    experiment: Experiment, run: RunFolder, spark: SparkSession, *, quiet: bool = False
) -> RunResult:
    """All stages: ingest, split, expand if requested, train, evaluate, audit, report."""
    from pulmospark.tracking.extra import check_tracking

    check_tracking(experiment.tracking)
    with locked(run):
        return _run_all(experiment, run, spark, quiet=quiet)


def _run_all(
    experiment: Experiment, run: RunFolder, spark: SparkSession, *, quiet: bool
) -> RunResult:
    from pulmospark.experiment.check import check_classes
    from pulmospark.experiment.run_result import RunResult

    started = time.perf_counter()
    ingested = run_ingest(experiment, run, spark, quiet=quiet)
    parted = run_split(experiment, run, spark, quiet=quiet)
    check_classes(experiment.evaluate, parted.classes)  # before hours of training
    expanded = run_expand(experiment, run, spark, quiet=quiet)
    trained = run_train(experiment, run, spark, quiet=quiet)
    evaluated = run_evaluate(experiment, run, quiet=quiet)
    audited = run_audit(experiment, run, spark, quiet=quiet) if experiment.audit.enabled else None
    report = run_report(experiment, run, quiet=quiet)
    return RunResult(
        folder=run.root,
        report=report,
        bundle=run.bundle,
        seconds=time.perf_counter() - started,
        ingest=ingested,
        split=parted,
        expand=expanded,
        train=trained,
        evaluate=evaluated,
        audit=audited,
    )


def _sharing(executor: Executor, run: RunFolder, store: SharedStore | None) -> Executor:
    """The executor for a run, whose images its workers then find."""
    if store is not None and run.mirror is not None and not executor.is_here:
        run.mirror.lighten("tables/images")
    return executor.sharing(store)


@contextlib.contextmanager
def _stage(
    experiment: Experiment, run: RunFolder, name: str, *, quiet: bool
) -> Iterator[SharedStore | None]:
    """Yields what workers on other machines share of a run in a store; its work goes at the end.

    After an error the work stays, and the stage resumes.
    """
    with locked(run), stage(name, quiet=quiet):
        save_settings(experiment, run)
        started = time.perf_counter()
        store = shared_store(run)
        yield store
        if store is not None:
            store.clear()
        note_seconds(run, name, time.perf_counter() - started)
