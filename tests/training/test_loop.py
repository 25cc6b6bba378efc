"""The training loop, in one process: it learns, the same each time, and keeps its best."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch

from pulmospark.config.train import NetworkSettings
from pulmospark.core.errors import InputError, UsageError
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network
from pulmospark.models.zoo.networks import stages
from pulmospark.training.data_loader import ImageSet
from pulmospark.training.loop import Epoch, fit
from training.toys import SIZE, toy_images

SETTINGS = NetworkSettings(epochs=8, batch_size=8, learning_rate=3e-3, precision="fp32")
NONE = ImageSet(np.zeros((0, SIZE, SIZE), np.uint8), np.zeros(0, np.int64))


def _network(name: str = "basic_cnn") -> Network:
    torch.manual_seed(5)
    return networks.build(name, 2)


def _weights(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, two[name]) for name, value in one.items())


def _plain(history: list[Epoch]) -> list[tuple[float, float, float | None]]:
    return [(epoch.loss, epoch.accuracy, epoch.validation_loss) for epoch in history]


def test_it_learns_and_is_the_same_each_time() -> None:
    first, second, other = _network(), _network(), _network()
    train, validation = toy_images(64), toy_images(20, seed=1)
    history = fit(first, train, validation, SETTINGS, seed=3)
    assert _plain(fit(second, train, validation, SETTINGS, seed=3)) == _plain(history)
    assert _same(_weights(first), _weights(second))
    assert _plain(fit(other, train, validation, SETTINGS, seed=4)) != _plain(history)
    assert history[-1].loss < history[0].loss / 2
    with torch.inference_mode():
        logits = first.eval()(torch.from_numpy(validation.pixels))
    assert (logits.argmax(1).numpy() == validation.labels).mean() >= 0.9


@pytest.mark.parametrize("trainable", ["head", 1, 3, "all"])
def test_what_is_frozen_keeps_every_bit(trainable: Literal["all", "head"] | int) -> None:
    network = _network("mobilenet_v2")  # it has batch norm, whose statistics move by themselves
    before = _weights(network)
    images = ImageSet(toy_images(8).pixels.repeat(2, 1).repeat(2, 2), toy_images(8).labels)
    settings = NetworkSettings(
        epochs=1, batch_size=4, learning_rate=0.01, trainable=trainable, ema=0.5, warm_up=0.0
    )
    fit(network, images, NONE, settings, seed=1)
    moved = {k for k, v in _weights(network).items() if not torch.equal(v, before[k])}
    counts = {"head": 0, "all": len(stages(network))}
    trained = counts[trainable] if isinstance(trainable, str) else trainable
    free = [prefix for stage in stages(network)[::-1][:trained] for prefix in stage]
    assert moved == {k for k in before if k.startswith(("head.", *(f"{p}." for p in free)))}


def test_the_best_epoch_stays() -> None:
    network = _network()
    validation = toy_images(20, seed=1)
    # The labels are turned round: what is learnt makes the validation worse and worse.
    turned = ImageSet(validation.pixels, 1 - validation.labels)
    history = fit(network, toy_images(64), turned, SETTINGS, seed=3)
    losses = [epoch.validation_loss for epoch in history]
    assert None not in losses
    best = min(loss for loss in losses if loss is not None)
    assert best < (losses[-1] or 0.0)
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(turned.pixels))
        found = torch.nn.functional.cross_entropy(logits, torch.from_numpy(turned.labels))
    assert float(found) == pytest.approx(best, rel=1e-5)


def test_patience_ends_it() -> None:
    validation = toy_images(20, seed=1)
    turned = ImageSet(validation.pixels, 1 - validation.labels)
    settings = SETTINGS.model_copy(update={"epochs": 50, "patience": 2})
    history = fit(_network(), toy_images(64), turned, settings, seed=3)
    assert 3 <= len(history) < 50


def test_without_validation_the_training_loss_chooses() -> None:
    history = fit(_network(), toy_images(16), NONE, SETTINGS, seed=3)
    assert [epoch.validation_loss for epoch in history] == [None] * SETTINGS.epochs


@pytest.mark.parametrize("images", [2, 3, 8, 9])
def test_fewer_images_than_a_batch_and_odd_numbers(images: int) -> None:
    history = fit(_network(), toy_images(images), NONE, SETTINGS, seed=3)
    assert len(history) == SETTINGS.epochs


def test_one_image_alone_cannot_be_trained_on() -> None:
    with pytest.raises(InputError, match="1 images for 1 training processes"):
        fit(_network(), toy_images(1), NONE, SETTINGS, seed=3)


def test_a_learning_rate_that_explodes_is_said() -> None:
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"lower train.network.learning_rate \(now 1e\+30\)"):
        fit(_network(), toy_images(32), toy_images(8), settings, seed=3)


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        fit(_network(), NONE, NONE, SETTINGS, seed=3)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "adam"},
        {"optimiser": "rmsprop", "learning_rate": 1e-3},
        {"optimiser": "sgd", "learning_rate": 0.02},
        {"schedule": "constant", "warm_up": 0.0},
        {"stage_factor": 0.5},
        {"balance": "weights"},
        {"balance": "sampling"},
        {"label_smoothing": 0.1},
        {"mix_up": 0.2},
        {"ema": 0.9},
        {"precision": "bf16"},
        {"precision": "auto"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_it_learns_with_every_option_and_otherwise_than_without(changes: dict[str, Any]) -> None:
    settings = NetworkSettings.model_validate(SETTINGS.model_dump() | changes)
    plain, network = _network(), _network()
    train, validation = toy_images(64), toy_images(20, seed=1)
    fit(plain, train, validation, SETTINGS, seed=3)
    history = fit(network, train, validation, settings, seed=3)
    assert max(epoch.validation_accuracy or 0.0 for epoch in history) >= 0.9
    if changes not in ({"balance": "weights"}, {"balance": "sampling"}, {"precision": "auto"}):
        assert not _same(_weights(network), _weights(plain))  # toys are balanced as they are


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_a_rare_class_weighs_as_much_where_classes_are_balanced(
    balance: Literal["weights", "sampling"],
) -> None:
    # All images are one image: all there is to learn is how much each class weighs.
    grey = np.repeat(toy_images(1).pixels, 72, axis=0)
    images = ImageSet(grey, (np.arange(72) % 9 == 0).astype(np.int64))
    settings = NetworkSettings(
        epochs=40, batch_size=24, learning_rate=0.1, precision="fp32", trainable="head"
    )

    def probability_of_rare(how: NetworkSettings) -> float:
        network = _network()
        fit(network, images, NONE, how, seed=3)
        with torch.inference_mode():
            return float(network.eval()(torch.from_numpy(grey[:1])).softmax(1)[0, 1])

    assert probability_of_rare(settings) == pytest.approx(1 / 9, abs=0.05)
    even = settings.model_copy(update={"balance": balance})
    assert probability_of_rare(even) == pytest.approx(1 / 2, abs=0.1)


def test_images_are_augmented_in_training_alone_anew_each_epoch() -> None:
    seen: dict[int, list[str]] = {}

    def darken(pixels: np.ndarray[Any, Any], keys: Any, draw: int) -> np.ndarray[Any, Any]:
        assert pixels.dtype == np.uint8
        assert len(pixels) == len(keys)
        seen.setdefault(draw, []).extend(keys)
        return np.zeros_like(pixels)

    network = _network()
    history = fit(network, toy_images(32), toy_images(8, 1), SETTINGS, seed=3, augment=darken)
    assert sorted(seen) == list(range(1, SETTINGS.epochs + 1))
    for keys in seen.values():
        assert sorted(keys, key=int) == [str(n) for n in range(32)]
    assert seen[1] != seen[2]
    # All images are black: nothing can be learnt.
    assert history[-1].loss > 0.6


def test_more_stages_than_there_are_is_said() -> None:
    settings = SETTINGS.model_copy(update={"trainable": 9})
    with pytest.raises(UsageError, match=r"trainable is 9, but basic_cnn has \d stages"):
        fit(_network(), toy_images(8), NONE, settings, seed=1)
