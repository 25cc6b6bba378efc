"""What several audits need of a subject, computed on first use and shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from pyspark.sql import SparkSession

from pulmospark.audit import near_duplicates, subgroups
from pulmospark.audit.duplicate_pairs import pairs_of, write_pairs
from pulmospark.audit.model_outputs import Scored, images_at, score_sample, stratified
from pulmospark.audit.subject import Subject
from pulmospark.chunks.shared_store import SharedStore
from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints, Pixels
from pulmospark.data.duplicates.near_duplicates import NearCopies, find_near_copies, grey_levels
from pulmospark.spark.executor import SparkExecutor


@dataclass
class Evidence:
    """A subject, with what audits measure of it.

    Attributes:
        subject: what is audited.
        work: folder for what is kept for a second run.
        spark: the session.
        quiet: show no progress.
        bundle: folder of a model; ``None``: there is none, so nothing may be scored.
        store: of a run that lies in one.
    """

    subject: Subject
    work: Path
    spark: SparkSession
    quiet: bool
    bundle: Path | None = None
    store: SharedStore | None = None

    @property
    def executor(self) -> SparkExecutor:
        """Runs the tasks."""
        return SparkExecutor(self.spark, store=self.store)

    @cached_property
    def copies(self) -> NearCopies:
        """The near copies, and the fingerprints computed along the way."""
        settings = self.subject.settings
        return find_near_copies(
            self.subject.images,
            self.subject.rows,
            self.work,
            self.executor,
            distance=settings.hash_distance,
            correlation=settings.copy_correlation,
            pairs_max=settings.pairs_max,
            quiet=self.quiet,
        )

    def write_pairs(self) -> int | None:
        """Write the near-copy pairs into the work folder; their number, ``None`` if none."""
        if "copies" not in self.__dict__ or not self.copies.first.size:
            return None
        write_pairs(pairs_of(self.subject, self.copies), self.work)
        return int(self.copies.first.size)

    @property
    def searches_copies(self) -> bool:
        """Whether the settings do not skip the search for near copies."""
        return near_duplicates.NEAR[0] not in self.subject.settings.skip

    @cached_property
    def looks(self) -> Mapping[str, Floats]:
        """Grey levels of each image, (n,) each; no near-copy search if that is skipped."""
        if self.searches_copies:
            return self.copies.looks
        return grey_levels(
            self.subject.images,
            self.subject.rows,
            self.work,
            self.executor,
            quiet=self.quiet,
        )

    @cached_property
    def tested(self) -> subgroups.Tested | None:
        """The test images and their predictions; ``None`` where no model was evaluated."""
        return subgroups.tested(self.subject)

    @cached_property
    def scored(self) -> Scored:
        """Predictions and features of the bundle for a sample of the images."""
        assert self.bundle is not None
        return score_sample(self.subject, self.bundle, self.work, self.executor, quiet=self.quiet)

    @cached_property
    def some_images(self) -> tuple[Ints, Pixels]:
        """Places (m,) and pixels (m, h, w) of a few images of each predicted class."""
        scored = self.scored
        places = stratified(scored, self.subject.groups[scored.rows], limits.AUDIT_HEAT_MAPS_MAX)
        rows = scored.rows[places]
        return rows, images_at(self.subject, rows)

    def predict(self, images: Pixels) -> tuple[Floats, Floats]:
        """Probabilities (n, k) and features (n, d) of images (n, h, w) that are in no table."""
        bundle = self.scored.bundle
        network = bundle.network()
        with torch.no_grad():
            features = network.features(torch.from_numpy(images))
            logits = network.logits(features) / bundle.config.temperature
            probability = torch.softmax(logits.double(), dim=1)
        return probability.numpy(), features.double().numpy()
