"""The training loop, in one process: it learns, the same each time, and keeps its best."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pulmospark.core.errors import InputError
from pulmospark.core.settings import NetworkSettings
from pulmospark.models import zoo
from pulmospark.models.network import Network
from pulmospark.training.feed import Films
from pulmospark.training.loop import Epoch, fit
from training.toys import SIZE, toy_films

SETTINGS = NetworkSettings(epochs=8, batch_size=8, learning_rate=3e-3)
NONE = Films(np.zeros((0, SIZE, SIZE), np.uint8), np.zeros(0, np.int64))


def _network(name: str = "basic_cnn") -> Network:
    torch.manual_seed(5)
    return zoo.build(name, 2)


def _weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, two[name]) for name, value in one.items())


def _plain(history: list[Epoch]) -> list[tuple[float, float, float | None]]:
    return [(epoch.loss, epoch.accuracy, epoch.validation_loss) for epoch in history]


def test_it_learns_and_is_the_same_each_time() -> None:
    first, second, other = _network(), _network(), _network()
    train, validation = toy_films(64), toy_films(20, seed=1)
    history = fit(first, train, validation, SETTINGS, seed=3)
    assert _plain(fit(second, train, validation, SETTINGS, seed=3)) == _plain(history)
    assert _same(_weights(first), _weights(second))
    assert _plain(fit(other, train, validation, SETTINGS, seed=4)) != _plain(history)
    assert history[-1].loss < history[0].loss / 2
    with torch.inference_mode():
        logits = first.eval()(torch.from_numpy(validation.pixels))
    assert (logits.argmax(1).numpy() == validation.labels).mean() >= 0.9


def test_a_frozen_backbone_keeps_every_bit() -> None:
    network = _network("mobilenet_v2")  # it has batch norm, whose statistics move by themselves
    before = _weights(network)
    films = Films(toy_films(8).pixels.repeat(2, 1).repeat(2, 2), toy_films(8).labels)
    settings = NetworkSettings(epochs=2, batch_size=4, learning_rate=0.01, frozen=True)
    fit(network, films, NONE, settings, seed=1)
    after = _weights(network)
    assert all(torch.equal(after[k], v) for k, v in before.items() if not k.startswith("head."))
    assert not torch.equal(after["head.weight"], before["head.weight"])


def test_the_best_epoch_stays() -> None:
    network = _network()
    validation = toy_films(20, seed=1)
    # The labels are turned round: what is learnt makes the validation worse and worse.
    turned = Films(validation.pixels, 1 - validation.labels)
    history = fit(network, toy_films(64), turned, SETTINGS, seed=3)
    losses = [epoch.validation_loss for epoch in history]
    assert None not in losses
    best = min(loss for loss in losses if loss is not None)
    assert best < (losses[-1] or 0.0)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(turned.pixels))
        found = torch.nn.functional.cross_entropy(logits, torch.from_numpy(turned.labels))
    assert float(found) == pytest.approx(best, rel=1e-5)


def test_patience_ends_it() -> None:
    validation = toy_films(20, seed=1)
    turned = Films(validation.pixels, 1 - validation.labels)
    settings = SETTINGS.model_copy(update={"epochs": 50, "patience": 2})
    history = fit(_network(), toy_films(64), turned, settings, seed=3)
    assert 3 <= len(history) < 50


def test_without_validation_the_training_loss_chooses() -> None:
    history = fit(_network(), toy_films(16), NONE, SETTINGS, seed=3)
    assert [epoch.validation_loss for epoch in history] == [None] * SETTINGS.epochs


@pytest.mark.parametrize("films", [2, 3, 8, 9])
def test_fewer_films_than_a_batch_and_odd_numbers(films: int) -> None:
    history = fit(_network(), toy_films(films), NONE, SETTINGS, seed=3)
    assert len(history) == SETTINGS.epochs


def test_one_film_alone_cannot_be_trained_on() -> None:
    with pytest.raises(InputError, match="two films"):
        fit(_network(), toy_films(1), NONE, SETTINGS, seed=3)


def test_a_learning_rate_that_explodes_is_said() -> None:
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"lower train.network.learning_rate \(now 1e\+30\)"):
        fit(_network(), toy_films(32), toy_films(8), settings, seed=3)


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        fit(_network(), NONE, NONE, SETTINGS, seed=3)
