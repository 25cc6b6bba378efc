"""All metrics of an evaluation for many bootstrap replicates at once.

Quantities that add up over images (confusion, log loss, Brier score, reliability bins) are summed
by group once; a replicate is then a product with the groups' multiplicities. Rank metrics come
from `pulmospark.evaluation.auc`. The point estimate is the replicate in which every group
counts once, so estimate and CI share each formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from pulmospark.core import limits
from pulmospark.core.arrays import Floats, Ints, Mask
from pulmospark.evaluation import metrics, registry
from pulmospark.evaluation.auc import Ranks


@dataclass(frozen=True)
class GroupTables:
    """Sums by group from which every metric follows."""

    classes: int
    bins: int
    groups: int
    present: Mask
    """(classes,) whether a class occurs"""
    sums: sparse.csr_array
    """(classes^2 + m + 3 bins, groups): confusion, the m metrics of `per_image`, then a bin's
    images, summed probability and correctly classified images"""
    per_image: tuple[str, ...]
    """metrics whose value is a mean over images"""
    ranks: tuple[Ranks, ...]

    @classmethod
    def of(cls, labels: Ints, probabilities: Floats, groups: Ints, count: int, bins: int) -> Self:
        """Sum by group.

        Args:
            labels: (n,) true class.
            probabilities: (n, k).
            groups: (n,) group of each image, 0 to ``count`` - 1.
            count: number of groups.
            bins: of the reliability diagram.
        """
        images, k = probabilities.shape
        predicted = metrics.predicted_class(probabilities)
        confidence = probabilities[np.arange(images), predicted]
        bin_numbers = metrics.bin_of_images(confidence, bins)
        means = {
            metric.name: metric.per_image(labels, probabilities)
            for metric in registry.METRICS
            if metric.per_image is not None
        }
        ones, base = np.ones(images), k * k + len(means)
        parts = (
            (labels * k + predicted, ones),
            *((np.full(images, k * k + at), each) for at, each in enumerate(means.values())),
            (base + bin_numbers, ones),
            (base + bins + bin_numbers, confidence),
            (base + 2 * bins + bin_numbers, (predicted == labels).astype(np.float64)),
        )
        cells = (np.concatenate([row for row, _ in parts]), np.tile(groups, len(parts)))
        values = np.concatenate([value for _, value in parts])
        return cls(
            classes=k,
            bins=bins,
            groups=count,
            present=np.bincount(labels, minlength=k) > 0,
            sums=sparse.coo_array((values, cells), shape=(base + 3 * bins, count)).tocsr(),
            per_image=tuple(means),
            ranks=tuple(
                Ranks.of(labels == each, probabilities[:, each], groups, count)
                for each in range(k)
            ),
        )

    def figures(self, multiplicities: Floats) -> dict[str, Floats]:
        """Every metric for each set of multiplicities.

        Args:
            multiplicities: (groups, b) how often each group counts.

        Returns:
            Name -> (b,), or (classes, b) for the metrics of each class against the rest; nan
            where a metric is undefined. Without proportions, whose CI needs no replicates.
        """
        k, bins = self.classes, self.bins
        sums = self.sums @ multiplicities
        base = k * k + len(self.per_image)
        areas = [ranks.areas(multiplicities) for ranks in self.ranks]
        totals = registry.Totals(
            confusion=sums[: k * k].reshape(k, k, -1),
            present=self.present,
            image_sums=dict(zip(self.per_image, sums[k * k : base], strict=True)),
            bins=sums[base:].reshape(3, bins, -1),
            auroc=np.stack([area for area, _ in areas]),
            auprc=np.stack([area for _, area in areas]),
        )
        return {
            metric.name: metric.compute(totals)
            for metric in registry.METRICS
            if metric.compute is not None
        }

    def point(self) -> dict[str, Floats]:
        """Point estimate of every metric: () for overall ones, (classes,) for per-class ones."""
        whole = self.figures(np.ones((self.groups, 1)))
        return {name: values[..., 0] for name, values in whole.items()}

    def bootstrap(self, replicates: int, seed: int) -> dict[str, Floats]:
        """Every metric in replicates that draw groups with replacement.

        The same seed gives the same replicates for any block size.

        Args:
            replicates: how many.
            seed: of a PCG64 generator.

        Returns:
            Name -> (..., replicates); nan where a metric is undefined.
        """
        random = np.random.Generator(np.random.PCG64(seed))
        parts: list[dict[str, Floats]] = []
        block = self._block()
        for start in range(0, replicates, block):
            size = min(block, replicates - start)
            drawn = np.empty((size, self.groups))
            for each in range(size):
                picks = random.integers(0, self.groups, self.groups)
                drawn[each] = np.bincount(picks, minlength=self.groups)
            parts.append(self.figures(np.ascontiguousarray(drawn.T)))
        return {name: np.concatenate([p[name] for p in parts], axis=-1) for name in parts[0]}

    def _block(self) -> int:
        """Replicates whose working arrays fit in the limit."""
        longest = max(ranks.segments for ranks in self.ranks)
        numbers = 2 * self.groups + 6 * longest + 2 * self.sums.shape[0]
        return max(1, limits.BOOTSTRAP_BLOCK_BYTES // (8 * numbers))
