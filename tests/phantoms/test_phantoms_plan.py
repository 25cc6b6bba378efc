from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.phantoms.hospitals import HOSPITALS, Hospital
from pulmospark.phantoms.patients import IMAGE_SHARES, patients_of, quotas


@given(
    total=st.integers(0, 5000),
    shares=st.lists(st.floats(0.001, 100), min_size=1, max_size=12),
)
def test_quotas_add_up_and_are_within_one_of_the_exact_share(
    total: int, shares: list[float]
) -> None:
    counts = quotas(total, shares)
    assert sum(counts) == total
    for count, share in zip(counts, shares, strict=True):
        assert abs(count - total * share / sum(shares)) < 1 + 1e-6


@pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.name)
def test_images_of_a_patient_do_not_tell_the_finding(hospital: Hospital) -> None:
    people = patients_of(hospital, 1000, IMAGE_SHARES, np.random.default_rng(0))
    assert len(people) == 1000
    patients = Counter(finding for finding, _ in people)
    images: Counter[str] = Counter()
    for finding, count in people:
        images[finding] += count
    for finding, share in hospital.prevalence.items():
        assert patients[finding] == pytest.approx(1000 * share, abs=1)
        assert images[finding] / patients[finding] == pytest.approx(1.8, abs=0.05)
