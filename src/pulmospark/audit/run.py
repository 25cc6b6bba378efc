"""Run the audits on a subject; intermediate results are shared between audits."""

from __future__ import annotations

import time
from pathlib import Path

from pyspark.sql import SparkSession

from pulmospark.audit import registry
from pulmospark.audit.duplicate_pairs import CSV, PARQUET
from pulmospark.audit.evidence import Evidence
from pulmospark.audit.registry import Audit
from pulmospark.audit.results import ORDER, AuditReport, AuditResult, not_assessable
from pulmospark.audit.skip import check_skip
from pulmospark.audit.subject import Subject
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.core.provenance import provenance


def run_audits(
    subject: Subject,
    work: Path,
    spark: SparkSession,
    *,
    bundle: Path | None = None,
    store: SharedStore | None = None,
    quiet: bool = False,
) -> AuditReport:
    """Run every audit that the settings do not skip.

    Args:
        subject: what is audited.
        work: folder for what audits share; kept to speed up a second run. Near-copy pairs are
            written there.
        spark: the session.
        bundle: folder of a model; the costly audits need one.
        store: of a run that lies in one.
        quiet: show no progress.

    Raises:
        UsageError: a name to be skipped is not an audit.
        BundleError: the bundle cannot be used.
        InputError: the images table lacks images, or too many are similar.
    """
    settings, unavailable = subject.settings, subject.model_left_out
    check_skip(settings)
    for name in (PARQUET, CSV):
        (work / name).unlink(missing_ok=True)
    runs_model = settings.costly and (bundle is not None or unavailable is not None)
    costly = [audit.name for audit in registry.AUDITS if audit.runs_model]
    evidence = Evidence(subject, work, spark, quiet, bundle, store)
    done = [
        _timed(audit, evidence)
        for audit in registry.AUDITS
        if audit.name not in settings.skip and (runs_model or not audit.runs_model)
    ]
    return AuditReport(
        images=subject.rows.num_rows,
        audits=tuple(sorted(done, key=lambda audit: ORDER[audit.verdict])),
        skipped=settings.skip,
        costly_left_out=() if runs_model else tuple(costly),
        near_copies=evidence.write_pairs(),
        provenance=provenance(settings.model_dump(mode="json"), seed=subject.seed),
    )


def _timed(audit: Audit, evidence: Evidence) -> AuditResult:
    started = time.perf_counter()
    unavailable = evidence.subject.model_left_out
    if audit.runs_model and evidence.bundle is None and unavailable is not None:
        result = not_assessable(audit.name, audit.title, unavailable.why, unavailable.remedy)
    else:
        result = audit.run(evidence)
    return result.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})
