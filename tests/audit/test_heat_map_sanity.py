"""Whether heat maps depend on what the model learned."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from benchmarks.audit_images import CLASSES, clean_subject
from scipy.stats import spearmanr

from audit.heat_networks import upper_half_network
from audit.test_audit_not_assessable import scored
from pulmospark.audit import heat_map_sanity
from pulmospark.audit.heat_map_sanity import audit, rank_correlations, with_random_weights
from pulmospark.audit.heat_maps import mean_share
from pulmospark.models.zoo import networks

if TYPE_CHECKING:
    from pulmospark.audit.results import AuditResult
    from pulmospark.models.zoo.network import Network


def sample(count: int, size: int) -> np.ndarray:
    random = np.random.default_rng(8)
    coarse = random.integers(0, 256, (count, size // 8, size // 8))
    return np.asarray(np.kron(coarse, np.ones((8, 8))), np.uint8)


def audited(network: Network, size: int, count: int = 24) -> AuditResult:
    subject = clean_subject(count, group_id=[f"g{number}" for number in range(count)])
    config = SimpleNamespace(classes=CLASSES)
    model = replace(
        scored(subject),
        probabilities={"whole": np.eye(3)[np.arange(count) % 3]},
        bundle=cast("Any", SimpleNamespace(config=config, network=lambda: network)),
    )
    return audit(subject, model, np.arange(count), sample(count, size))


def small_cnn() -> Network:
    torch.manual_seed(5)
    return networks.build("basic_cnn", 3).eval()


def test_a_network_whose_maps_depend_on_its_weights_passes() -> None:
    result = audited(small_cnn(), 96)
    assert result.verdict == "pass"
    value = result.figures[0].figure.value
    assert value is not None
    assert abs(value) < 0.5


def test_maps_that_random_weights_leave_as_they_are_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heat_map_sanity, "with_random_weights", lambda network, *_: network)
    result = audited(small_cnn(), 96)
    assert result.verdict == "fail"
    assert result.figures[0].figure.value == pytest.approx(1.0)
    assert result.remedy


@pytest.mark.parametrize(
    ("low", "verdict"), [(0.5, "pass"), (0.51, "warn"), (0.8, "warn"), (0.81, "fail")]
)
def test_the_verdict_depends_on_the_lower_bound(
    low: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = mean_share(
        np.ones(9), np.arange(9), seed=1, replicates=9, confidence=0.95
    ).model_copy(update={"value": 0.9, "low": low})
    monkeypatch.setattr(heat_map_sanity, "mean_share", lambda *_, **__: figure)
    assert audited(small_cnn(), 96).verdict == verdict


def test_maps_without_heat_and_few_patients_are_not_assessable() -> None:
    assert audited(upper_half_network(cold=True), 8).verdict == "not assessable"
    assert audited(small_cnn(), 96, count=6).verdict == "not assessable"


def test_weights_are_shuffled_and_the_network_is_left_as_it_was() -> None:
    network = small_cnn()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = with_random_weights(network, sample(4, 96), seed=3)
    again = with_random_weights(network, sample(4, 96), seed=3)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    for (name, value), same in zip(random.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(value, same, rtol=0, atol=0)
        old = before[name].flatten().sort().values
        torch.testing.assert_close(value.flatten().sort().values, old, rtol=0, atol=0)
    assert not torch.equal(random.head.weight, before["head.weight"])
    assert not random.training


def test_rank_correlations_are_those_of_scipy() -> None:
    random = np.random.default_rng(2)
    first = random.normal(size=(5, 4, 6)).astype(np.float32)
    second = (first + random.normal(size=(5, 4, 6))).astype(np.float32).round(1)  # with ties
    second[4] = 1.0
    ours = rank_correlations(first, second)
    for place in range(4):
        theirs = spearmanr(first[place].ravel(), second[place].ravel()).statistic
        assert ours[place] == pytest.approx(theirs, abs=1e-12)
    assert np.isnan(ours[4])
