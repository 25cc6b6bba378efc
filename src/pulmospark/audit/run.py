"""Run the audits on a subject: what each needs is made once, and what cannot be told is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

from pulmospark.audit import (
    balance,
    exact_duplicates,
    near_duplicates,
    one_thing,
    patients,
    subgroups,
)
from pulmospark.audit.results import ORDER, AuditReport, AuditResult
from pulmospark.audit.subject import Subject
from pulmospark.core.errors import UsageError
from pulmospark.core.provenance import provenance
from pulmospark.data.near_copies import NearCopies, find_near_copies

Audit = Callable[[], AuditResult]


@dataclass
class _Shared:
    """What several audits need, made when the first asks for it."""

    subject: Subject
    work: Path
    spark: SparkSession
    quiet: bool
    _copies: NearCopies | None = None

    def copies(self) -> NearCopies:
        """The near copies, and the looks that were told on the way."""
        if self._copies is None:
            settings = self.subject.settings
            self._copies = find_near_copies(
                self.subject.images,
                self.subject.rows,
                self.work,
                self.spark,
                distance=settings.hash_distance,
                correlation=settings.copy_correlation,
                quiet=self.quiet,
            )
        return self._copies


def audits_of(shared: _Shared) -> Iterator[tuple[str, Audit]]:
    """Name and function of every audit that can be run on a table or a split."""
    subject = shared.subject
    yield "exact_duplicates", partial(exact_duplicates.audit, subject)
    yield "near_duplicates", lambda: near_duplicates.audit(subject, shared.copies())
    yield "label_conflict", lambda: near_duplicates.conflicts(subject, shared.copies())
    for kind in one_thing.KINDS:
        yield (
            f"class_by_{kind.name}",
            lambda kind=kind: one_thing.audit(subject, shared.copies().looks, kind),  # type: ignore[misc]
        )
    yield "patients", partial(patients.audit, subject)
    yield "support", partial(balance.support, subject)
    yield "children", partial(balance.children, subject)
    films = subgroups.tested(subject)
    yield "subgroups", partial(subgroups.accuracy, subject, films)
    yield "calibration", partial(subgroups.calibration, subject, films)


def run_audits(
    subject: Subject, work: Path, spark: SparkSession, *, quiet: bool = False
) -> AuditReport:
    """Run every audit that the settings do not skip.

    Args:
        subject: what is audited.
        work: folder for what audits share; kept, so that a second run is quick.
        spark: the session.
        quiet: show no progress.

    Raises:
        UsageError: a name to be skipped is no audit's.
        InputError: the images table lacks films, or too many are near each other.
    """
    settings = subject.settings
    all_of_them = dict(audits_of(_Shared(subject, work, spark, quiet)))
    if unknown := sorted(set(settings.skip) - set(all_of_them)):
        raise UsageError(
            f"audit.skip names {unknown[0]!r}: the audits are {', '.join(all_of_them)}"
        )
    done = [_timed(run) for name, run in all_of_them.items() if name not in settings.skip]
    return AuditReport(
        films=subject.rows.num_rows,
        audits=tuple(sorted(done, key=lambda one: ORDER[one.verdict])),
        skipped=settings.skip,
        provenance=provenance(settings.model_dump(mode="json"), seed=subject.seed),
    )


def _timed(run: Audit) -> AuditResult:
    started = time.perf_counter()
    result = run()
    return result.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})


def counts(report: AuditReport) -> Mapping[str, int]:
    """Audits with each verdict, worst first."""
    return {verdict: report.count(verdict) for verdict in ORDER}
