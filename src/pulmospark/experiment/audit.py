"""Audit a run's folder or a bare table, and write the result next to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pulmospark.audit.duplicate_pairs import CSV, PARQUET
from pulmospark.audit.results import AuditReport, AuditResult
from pulmospark.audit.run import run_audits
from pulmospark.audit.skip import check_skip
from pulmospark.audit.subject import ModelLeftOut, Subject, subject_of
from pulmospark.audit.table import audits_table
from pulmospark.chunks import link_parts, parts_of
from pulmospark.chunks.parts import publish_rows
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.config.audit import AuditSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.parse import parse
from pulmospark.core import files
from pulmospark.core.errors import AuditError, InputError, UsageError
from pulmospark.core.provenance import now_utc
from pulmospark.core.result_schemas import ResultOf
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.data.expand.table import TABLE
from pulmospark.experiment.evaluate import other_evaluation, other_training
from pulmospark.experiment.example_images import thumbnails
from pulmospark.experiment.near_copies import WORK
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.report.audit import write_audit_page
from pulmospark.report.audit_content import AuditPage, Audits, shown

_RESULT, _PAGE = "audit.json", "audit.html"


def audit_run(
    experiment: Experiment,
    run: RunFolder,
    spark: SparkSession,
    *,
    bundle: Path | None = None,
    store: SharedStore | None = None,
    quiet: bool = False,
) -> AuditReport:
    """Audit a run: its images and split, and its model if it was evaluated.

    A model that was trained on another split, and metrics of another model, are excluded; the
    audits that need them report so.

    Args:
        experiment: the settings.
        run: folder of the run; split must have finished there.
        spark: the session.
        bundle: folder of another model; ``None``: the run's own, if it has one.
        store: of a run that lies in one.
        quiet: show no progress.

    Raises:
        InputError: an earlier stage is missing.
        UsageError: a setting names no audit.
        BundleError: a bundle cannot be used.
    """
    parted = read_split(run.cohort)
    left_out, own = _model_left_out(run), _bundle_of(run)
    if own is not None and other_training(run) is not None:
        own = None  # tested images may be among those it was trained on
    predictions = run.evaluation / "predictions"
    subject = subject_of(
        run.tables / "images",
        run.cohort,
        experiment.audit,
        seed=experiment.seed,
        classes=parted.classes,
        confidence=experiment.evaluate.confidence,
        predictions=pq.read_table(predictions)
        if left_out is None and predictions.is_dir()
        else None,
        expanded=_expanded_of(experiment, run),
        model_left_out=left_out,
    )
    return _audited(
        subject, run.root, run.audit, spark, bundle=bundle or own,
        title=experiment.name, phantoms=experiment.phantoms, quiet=quiet,
        cohort_id=parted.cohort_id, store=store,
    )  # fmt: skip


def audit_table(
    table: Path,
    settings: AuditSettings,
    target: Path,
    spark: SparkSession,
    *,
    bundle: Path | None = None,
    seed: int = 20201,
    quiet: bool = False,
) -> AuditReport:
    """Audit the images of an ingest without a split: each finding is a class.

    Args:
        table: folder of an images table, or of an ingest's tables.
        settings: of the audits.
        target: folder of the result.
        spark: the session.
        bundle: folder of a model.
        seed: of folds and bootstrap.
        quiet: show no progress.

    Raises:
        InputError: it is no images table.
        UsageError: a setting names no audit.
    """
    images = images_of(table)
    subject = subject_of(images, None, settings, seed=seed)
    return _audited(
        subject, target.parent, target, spark, bundle=bundle, title=table.resolve().name,
        phantoms=False, quiet=quiet,
    )  # fmt: skip


def table_settings(changes: dict[str, str]) -> AuditSettings:
    """Settings for a bare table from ``audit.NAME`` -> value, as text.

    Raises:
        UsageError: a setting is unknown, wrong, or not one of the audits'.
    """
    values: dict[str, Any] = {}
    for key, text in changes.items():
        section, _, name = key.partition(".")
        if section != "audit" or name not in AuditSettings.model_fields:
            raise UsageError(f"--set {key}: only audit.NAME can be set for a table")
        values[name] = text
    settings = parse(AuditSettings, values, where="--set")
    check_skip(settings)
    return settings


def images_of(table: Path) -> Path:
    """The images table at a path: the folder itself, or ``images`` in it.

    Raises:
        InputError: neither has Parquet files.
    """
    for folder in (table / "images", table / "tables" / "images", table):
        if parts_of(folder):
            return folder
    raise InputError(
        f"{table}: contains no images table: name a run, an experiment, or the output of "
        "`pulmospark ingest`"
    )


def check_strict(report: AuditReport, settings: AuditSettings) -> None:
    """Raise if an audit failed and the settings are strict.

    Raises:
        AuditError: an audit failed.
    """
    if settings.strict and report.failed:
        names = ", ".join(audit.name for audit in report.failed)
        first: AuditResult = report.failed[0]
        raise AuditError(
            f"{len(report.failed)} of {len(report.audits)} audits failed ({names}); "
            f"{first.name}: {first.sentence} Remedy: {first.remedy or 'see the report'}"
        )


def read_audit(folder: Path) -> AuditReport:
    """The results of the last audit into ``folder``.

    Raises:
        InputError: there is none.
    """
    return AuditReport.model_validate(files.read_json(folder / _RESULT))


def shown_audits(run: RunFolder) -> Audits | None:
    """The audits of a run as the report shows them; ``None``: its split has not been audited."""
    if not (run.audit / _RESULT).is_file() or old_audits(run) is not None:
        return None
    return _shown(read_audit(run.audit), run.tables / "images", folder=f"{run.audit.name}/")


def old_audits(run: RunFolder) -> str | None:
    """A note on audits of another split; ``None``: there are none."""
    if not (run.audit / _RESULT).is_file():
        return None
    if read_audit(run.audit).cohort_id == read_split(run.cohort).cohort_id:
        return None
    return (
        "The existing audits are of another split or an older version and are not shown: run "
        "`pulmospark audit` again."
    )


def _audited(
    subject: Subject,
    root: Path,
    target: Path,
    spark: SparkSession,
    *,
    bundle: Path | None,
    title: str,
    phantoms: bool,
    quiet: bool,
    cohort_id: str | None = None,
    store: SharedStore | None = None,
) -> AuditReport:
    report = run_audits(subject, root / WORK, spark, bundle=bundle, store=store, quiet=quiet)
    report = report.model_copy(update={"cohort_id": cohort_id})
    result_of = ResultOf(title, cohort_id, now_utc())
    page = AuditPage(
        title=title,
        made_at=result_of.at,
        is_phantom=phantoms,
        images=report.images,
        audits=_shown(report, subject.images),
        provenance=report.provenance,
    )
    with files.whole_folder(target) as aside:
        files.write_json(aside / _RESULT, report.model_dump(mode="json"))
        write_audit_page(page, aside / _PAGE)
        table = audits_table(
            report,
            result_of,
            bundle=read_bundle(bundle).model_id if bundle else None,
            predictions=_model_of(subject.predictions),
        )
        publish_rows(table, aside / "audits")
        if report.near_copies is not None:
            link_parts([root / WORK / name for name in (PARQUET, CSV)], aside)
    return report


def _model_of(predictions: pa.Table | None) -> str | None:
    """Id of the model that made predictions; ``None``: there are none."""
    return (
        predictions["model_id"][0].as_py()
        if predictions is not None and len(predictions)
        else None
    )


def _expanded_of(experiment: Experiment, run: RunFolder) -> Path | None:
    place = (experiment.train.expanded_path or run.expanded) / TABLE
    return place if experiment.train.expanded and parts_of(place) else None


def _model_left_out(run: RunFolder) -> ModelLeftOut | None:
    if other_training(run) is not None:
        return ModelLeftOut(
            "the model was trained on another split than the audited one",
            "train it on this split and evaluate it: `pulmospark train`, `pulmospark evaluate`",
        )
    if other_evaluation(run) is not None:
        return ModelLeftOut(
            "the metrics are of another model than the one trained last",
            "evaluate it: `pulmospark evaluate`",
        )
    return None


def _bundle_of(run: RunFolder) -> Path | None:
    return run.bundle if run.bundle.is_dir() else None


def _shown(report: AuditReport, images: Path, *, folder: str = "") -> Audits:
    uris = {
        image.uri
        for audit in report.audits
        for example in audit.examples
        for image in example.images
    }
    return shown(report, thumbnails(images, uris) if uris else {}, folder=folder)
