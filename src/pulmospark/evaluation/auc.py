"""Areas under the ROC and precision-recall curves, for many sets of weights at once.

One sort per class serves the point estimate and every bootstrap replicate: images are summed
by group (patient) and by segment of the ranking in three sparse matrices, and a replicate
is then a product with the groups' multiplicities and a few cumulative sums. All counts are
whole numbers below 2^53, so ties and weights are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

from pulmospark.core.arrays import Floats, Ints, Mask


@dataclass(frozen=True)
class Ranks:
    """One class's images in the order of their scores, summed by group.

    A segment ends at a distinct score of at least one positive image; segments run
    from the highest score down. Negative images below the last positive score belong to
    none: neither area depends on their order.
    """

    positive: sparse.csr_array
    """(segments, groups): positive images at the segment's score"""
    above: sparse.csr_array
    """(segments, groups): negative images above the segment's score, below the one before"""
    tied: sparse.csr_array
    """(segments, groups): negative images at the segment's score"""
    positives: Floats
    """(groups,): positive images"""
    negatives: Floats
    """(groups,): negative images"""

    @classmethod
    def of(cls, positive: Mask, scores: Floats, groups: Ints, count: int) -> Self:
        """Sort once.

        Args:
            positive: (n,) whether an image is of the class.
            scores: (n,) the class's probability, or any score increasing with it.
            groups: (n,) group of each image, 0 to ``count`` - 1.
            count: number of groups.
        """
        order = np.argsort(-scores, kind="stable")
        ranked, hit, group = scores[order], positive[order], groups[order]
        tie = np.cumsum(np.concatenate(([False], ranked[1:] != ranked[:-1])))
        holds = np.zeros(tie[-1] + 1, dtype=bool)
        holds[tie[hit]] = True
        segments = int(holds.sum())
        segment = (np.cumsum(holds) - holds)[tie]
        at_score = holds[tie]

        def counts(chosen: Mask) -> sparse.csr_array:
            ones = np.ones(int(chosen.sum()))
            cells = (segment[chosen], group[chosen])
            return sparse.coo_array((ones, cells), shape=(segments, count)).tocsr()

        return cls(
            positive=counts(hit),
            above=counts(~hit & ~at_score & (segment < segments)),
            tied=counts(~hit & at_score),
            positives=np.bincount(group[hit], minlength=count).astype(np.float64),
            negatives=np.bincount(group[~hit], minlength=count).astype(np.float64),
        )

    @property
    def segments(self) -> int:
        """Distinct scores of positive images."""
        return int(self.positive.shape[0])

    def areas(self, multiplicities: Floats) -> tuple[Floats, Floats]:
        """AUROC and average precision of each set of weights.

        AUROC is the Mann-Whitney probability that a positive image outranks a negative one,
        ties counting half. Average precision is the sum over the distinct scores of the
        precision there times the recall gained there (no interpolation), as scikit-learn's.

        Args:
            multiplicities: (groups, b) how often each group counts.

        Returns:
            Two arrays (b,); nan where a set of weights holds no positive (for AUROC: or no
            negative) image.
        """
        positives = self.positives @ multiplicities
        negatives = self.negatives @ multiplicities
        gained = self.positive @ multiplicities
        tied = self.tied @ multiplicities
        false = np.cumsum(self.above @ multiplicities + tied, axis=0)
        won = np.einsum("sb,sb->b", gained, negatives - false + 0.5 * tied)
        true = np.cumsum(gained, axis=0)
        false += true
        # Segments before the first image that counts are 0 / 0 and gain nothing.
        np.divide(true, false, out=true, where=false > 0)
        precision = np.einsum("sb,sb->b", gained, true)
        with np.errstate(invalid="ignore", divide="ignore"):
            pairs = positives * negatives
            auroc = np.where(pairs > 0, won / pairs, np.nan)
            average = np.where(positives > 0, precision / positives, np.nan)
        return auroc, average
