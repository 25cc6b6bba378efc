"""Assign patients, findings and numbers of images to hospitals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pulmospark.phantoms.hospitals import Hospital
from pulmospark.phantoms.opacities import Finding

IMAGE_SHARES: tuple[float, ...] = (0.50, 0.28, 0.14, 0.08)
"""shares of the patients with 1, 2, 3 and 4 images: 1.8 images each"""


def quotas(total: int, shares: Sequence[float]) -> list[int]:
    """Integers in proportion to ``shares`` that add up to ``total``.

    Largest-remainder method; ties go to the earlier share.
    """
    exact = [total * share / sum(shares) for share in shares]
    counts = [int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for index in order[: total - sum(counts)]:
        counts[index] += 1
    return counts


def patients_of(
    hospital: Hospital, count: int, image_shares: Sequence[float], rng: np.random.Generator
) -> list[tuple[Finding, int]]:
    """Finding and number of images of each of ``count`` patients, in random order.

    Both come in exact shares, so that prevalence is independent of the seed; the numbers of
    images are assigned within each finding, so that they do not predict it.
    """
    findings = list(Finding)
    people: list[tuple[Finding, int]] = []
    for finding, number in zip(
        findings, quotas(count, [hospital.prevalence[f] for f in findings]), strict=True
    ):
        for images, share in enumerate(quotas(number, image_shares), start=1):
            people += [(finding, images)] * share
    return [people[i] for i in rng.permutation(len(people))]
