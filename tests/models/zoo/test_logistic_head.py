"""A logistic regression in the head gives the regression's own probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pulmospark.core.errors import UsageError
from pulmospark.models.zoo.logistic_head import head_as_regression, set_linear_head
from pulmospark.models.zoo.networks import build


def test_probabilities_are_the_regressions() -> None:
    torch.manual_seed(2)
    network = build("basic_cnn", 3).eval()
    pixels = torch.randint(0, 256, (30, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        features = network.features(pixels).numpy()
        regression = LogisticRegression(max_iter=500).fit(features, np.arange(30) % 3)
        set_linear_head(network, regression.coef_, regression.intercept_)
        found = torch.softmax(network(pixels), dim=1).numpy()
    np.testing.assert_allclose(found, regression.predict_proba(features), atol=1e-5)


def test_one_logit_gives_the_same_probabilities_as_two_rows() -> None:
    random = np.random.default_rng(5)
    network = build("belman_lopez_2022_binary", 2).eval()
    weight, bias = random.normal(size=(2, 512)), random.normal(size=2)
    set_linear_head(network, weight, bias)
    features = random.normal(size=(7, 512)) / 10
    with torch.inference_mode():
        logits = network.logits(torch.from_numpy(features).float())
    wanted = torch.softmax(torch.from_numpy(features @ weight.T + bias), dim=1)
    torch.testing.assert_close(torch.softmax(logits.double(), dim=1), wanted, atol=1e-5, rtol=0)
    assert bool((logits[:, 0] == 0).all())
    rows, intercept = head_as_regression(network)
    assert (rows.shape, intercept.shape) == ((2, 512), (2,))
    np.testing.assert_allclose(features @ rows.T + intercept, logits.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("coefficients", "intercept", "message"),
    [
        (np.zeros((1, 128)), np.zeros(1), r"\(1, 128\).*expects \(2, 128\).*two rows"),
        (np.zeros((2, 127)), np.zeros(2), r"\(2, 127\)"),
        (np.zeros((2, 128)), np.zeros((2, 1)), r"intercept \(2, 1\)"),
        (np.full((2, 128), np.nan), np.zeros(2), "not finite"),
        (np.zeros((2, 128)), np.array([0, 1e39]), "not finite"),
    ],
)
def test_refuses_what_does_not_fit(
    coefficients: np.ndarray, intercept: np.ndarray, message: str
) -> None:
    network = build("basic_cnn", 2)
    before = network.head.weight.clone()
    with pytest.raises(UsageError, match=message):
        set_linear_head(network, coefficients, intercept)
    assert torch.equal(network.head.weight, before)
