"""Run the audits on a subject; intermediate results are shared between audits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from pyspark.sql import SparkSession

from pulmospark.audit import (
    augmented_copies,
    class_balance,
    exact_duplicates,
    features,
    guessed_views,
    heat_maps,
    near_duplicates,
    out_of_distribution,
    patients,
    shortcuts,
    single_feature,
    subgroups,
)
from pulmospark.audit.duplicate_pairs import CSV, PARQUET, pairs_of, write_pairs
from pulmospark.audit.model_outputs import Scored, images_at, score_sample, stratified
from pulmospark.audit.results import ORDER, AuditReport, AuditResult, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.config.audit import check_skip
from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints, Pixels
from pulmospark.core.provenance import provenance
from pulmospark.data.duplicates.near_duplicates import NearCopies, find_near_copies, grey_levels
from pulmospark.spark.executor import SparkExecutor

_NO_SEARCH = "the near-copy search is skipped (audit.skip)"
_SEARCH = "remove near_duplicates from `audit.skip`"
COSTLY = (
    shortcuts.COVERED,
    shortcuts.BURNED_IN,
    features.SOURCE,
    features.HELD_OUT,
    features.UNLIKE,
    out_of_distribution.SURE,
    heat_maps.HEAT,
)
"""name and title of the audits that run the model again"""

Audit = Callable[[], AuditResult]


@dataclass
class _Shared:
    """What several audits need, computed on first use."""

    subject: Subject
    work: Path
    spark: SparkSession
    quiet: bool
    bundle: Path | None = None
    _copies: NearCopies | None = None
    _looks: Mapping[str, Floats] | None = None
    _scored: Scored | None = None
    _images: tuple[Ints, Pixels] | None = None

    def copies(self) -> NearCopies:
        """The near copies, and the fingerprints computed along the way."""
        if self._copies is None:
            settings = self.subject.settings
            self._copies = find_near_copies(
                self.subject.images,
                self.subject.rows,
                self.work,
                SparkExecutor(self.spark),
                distance=settings.hash_distance,
                correlation=settings.copy_correlation,
                pairs_max=settings.pairs_max,
                quiet=self.quiet,
            )
        return self._copies

    def write_pairs(self) -> int | None:
        """Write the near-copy pairs into the work folder; their number, ``None`` if none."""
        if self._copies is None or not self._copies.first.size:
            return None
        write_pairs(pairs_of(self.subject, self._copies), self.work)
        return int(self._copies.first.size)

    def looks(self) -> Mapping[str, Floats]:
        """Grey levels of each image; does not run the near-copy search if that is skipped."""
        if near_duplicates.NEAR[0] not in self.subject.settings.skip:
            return self.copies().looks
        if self._looks is None:
            self._looks = grey_levels(
                self.subject.images,
                self.subject.rows,
                self.work,
                SparkExecutor(self.spark),
                quiet=self.quiet,
            )
        return self._looks

    def scored(self) -> Scored:
        """Predictions and features of the bundle for a sample of the images."""
        if self._scored is None:
            assert self.bundle is not None
            self._scored = score_sample(
                self.subject, self.bundle, self.work, self.spark, quiet=self.quiet
            )
        return self._scored

    def some_images(self) -> tuple[Ints, Pixels]:
        """Places and pixels of a few images of each predicted class."""
        if self._images is None:
            scored = self.scored()
            places = stratified(
                scored, self.subject.groups[scored.rows], limits.AUDIT_HEAT_MAPS_MAX
            )
            rows = scored.rows[places]
            self._images = rows, images_at(self.subject, rows)
        return self._images

    def run(self, images: Pixels) -> tuple[Floats, Floats]:
        """Probabilities and features of images that are in no table."""
        bundle = self.scored().bundle
        network = bundle.network()
        with torch.no_grad():
            features = network.features(torch.from_numpy(images))
            logits = network.logits(features) / bundle.config.temperature
            probability = torch.softmax(logits.double(), dim=1)
        return probability.numpy(), features.double().numpy()


def audits_of(shared: _Shared) -> Iterator[tuple[str, Audit]]:
    """Name and function of every audit of images, split and predictions."""
    subject = shared.subject
    yield "exact_duplicates", partial(exact_duplicates.audit, subject)
    yield "near_duplicates", lambda: near_duplicates.audit(subject, shared.copies())
    skipped = near_duplicates.NEAR[0] in subject.settings.skip
    yield (
        "label_conflict",
        partial(not_assessable, *near_duplicates.CONFLICT, _NO_SEARCH, _SEARCH)
        if skipped
        else lambda: near_duplicates.conflicts(subject, shared.copies()),
    )
    for kind in single_feature.KINDS:
        yield (
            f"class_by_{kind.name}",
            lambda kind=kind: single_feature.audit(  # type: ignore[misc]
                subject, shared.looks() if kind.of_pixels else {}, kind
            ),
        )
    yield guessed_views.NAME, partial(guessed_views.audit, subject)
    yield "augmented", partial(augmented_copies.audit, subject)
    yield "patients", partial(patients.audit, subject)
    yield "support", partial(class_balance.support, subject)
    yield "children", partial(class_balance.children, subject)
    images = subgroups.tested(subject)
    yield "subgroups", partial(subgroups.accuracy, subject, images)
    yield "calibration", partial(subgroups.calibration, subject, images)


def costly_audits_of(shared: _Shared) -> Iterator[tuple[str, Audit]]:
    """Name and function of the audits that run the model again."""
    subject = shared.subject
    yield "covered_lungs", lambda: shortcuts.covered(subject, shared.scored())
    yield "letters", lambda: shortcuts.letters(subject, shared.scored())
    yield "source_in_features", lambda: features.source(subject, shared.scored())
    yield "left_out_source", lambda: features.left_out_source(subject, shared.scored())
    yield "unlike_images", lambda: features.unlike(subject, shared.scored())
    yield (
        "never_shown",
        lambda: out_of_distribution.audit(
            subject, shared.scored(), shared.some_images()[1], shared.run
        ),
    )
    yield (
        "heat_maps",
        lambda: heat_maps.audit(subject, shared.scored(), *shared.some_images()),
    )


def run_audits(
    subject: Subject,
    work: Path,
    spark: SparkSession,
    *,
    bundle: Path | None = None,
    quiet: bool = False,
) -> AuditReport:
    """Run every audit that the settings do not skip.

    Args:
        subject: what is audited.
        work: folder for what audits share; kept to speed up a second run. Near-copy pairs are
            written there.
        spark: the session.
        bundle: folder of a model; the costly audits need one.
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
    shared = _Shared(subject, work, spark, quiet, bundle)
    cheap, costly = dict(audits_of(shared)), dict(costly_audits_of(shared))
    if bundle is None and unavailable is not None:
        costly = {
            name: partial(not_assessable, name, title, unavailable.why, unavailable.remedy)
            for name, title in COSTLY
        }
    runs_model = settings.costly and (bundle is not None or unavailable is not None)
    chosen = {**cheap, **costly} if runs_model else cheap
    done = [_timed(run) for name, run in chosen.items() if name not in settings.skip]
    return AuditReport(
        images=subject.rows.num_rows,
        audits=tuple(sorted(done, key=lambda audit: ORDER[audit.verdict])),
        skipped=settings.skip,
        costly_left_out=() if runs_model else tuple(costly),
        near_copies=shared.write_pairs(),
        provenance=provenance(settings.model_dump(mode="json"), seed=subject.seed),
    )


def _timed(run: Audit) -> AuditResult:
    started = time.perf_counter()
    result = run()
    return result.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})
