"""A bundle as the start of another training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pulmospark.config.experiment import read_experiment
from pulmospark.config.train import TrainSettings
from pulmospark.core.errors import BundleError, UsageError
from pulmospark.models.bundle.bundle import BundleConfig, CardFacts, read_bundle, write_bundle
from pulmospark.models.weights.initial_weights import load_bundle, load_start
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network

CLASSES = ("COVID-19", "normal", "pneumonia")


def _bundle(folder: Path, network: Network, classes: tuple[str, ...], size: int) -> Path:
    config = BundleConfig.for_network(
        network, classes=classes, input_size=size, fit="pad", method="network"
    )
    write_bundle(folder, network, config, {}, CardFacts(name="first"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    return _bundle(tmp_path_factory.mktemp("b") / "b", networks.build("basic_cnn", 3), CLASSES, 64)


def test_backbone_and_head_are_taken_over(folder: Path) -> None:
    network = networks.build("basic_cnn", 3)
    origin = load_bundle(network, folder, CLASSES)
    bundle = read_bundle(folder)
    assert (origin.file, origin.sha256) == (f"bundle {bundle.model_id}", bundle.model_sha256)
    given = bundle.network().state_dict()
    assert all(torch.equal(given[name], value) for name, value in network.state_dict().items())


@torch.inference_mode()
def test_the_heads_rows_follow_the_order_of_the_classes(folder: Path) -> None:
    network = networks.build("basic_cnn", 3).eval()
    load_bundle(network, folder, (CLASSES[2], CLASSES[0], CLASSES[1]))
    pixels = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    wanted = read_bundle(folder).network()(pixels)
    torch.testing.assert_close(network(pixels), wanted[:, [2, 0, 1]])


def test_another_classes_head_stays_as_it_is(folder: Path) -> None:
    network = networks.build("basic_cnn", 2)
    before = network.head.weight.clone()
    load_bundle(network, folder, ("normal", "tuberculosis"))
    assert torch.equal(network.head.weight, before)
    given = read_bundle(folder).network().backbone.state_dict()
    found = network.backbone.state_dict()
    assert all(torch.equal(given[name], value) for name, value in found.items())


@torch.inference_mode()
def test_one_logit_is_turned_with_its_classes(tmp_path: Path) -> None:
    first = networks.build("belman_lopez_2022_binary", 2)
    folder = _bundle(tmp_path / "b", first, ("COVID-19", "normal"), 200)
    turned = networks.build("belman_lopez_2022_binary", 2).eval()
    load_bundle(turned, folder, ("normal", "COVID-19"))
    pixels = torch.randint(0, 256, (2, 200, 200), dtype=torch.uint8)
    chances = torch.softmax(first.eval()(pixels), dim=1)
    torch.testing.assert_close(torch.softmax(turned(pixels), dim=1), chances.flip(1))


def test_another_network_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"contains basic_cnn, but .* is squeezenet1_1: set"):
        load_bundle(networks.build("squeezenet1_1", 3), folder, CLASSES)
    other = networks.build("basic_cnn", 3, mean=(0.4,), std=(0.2,))
    before = other.head.weight.clone()
    with pytest.raises(UsageError, match=r"standardises by \(\(0\.5,\), \(0\.25,\)\)"):
        load_bundle(other, folder, CLASSES)
    assert torch.equal(other.head.weight, before)
    with pytest.raises(BundleError, match="no such folder"):
        load_bundle(networks.build("basic_cnn", 3), tmp_path / "none", CLASSES)


def test_the_settings_say_what_from(folder: Path, shared_weights: Path) -> None:
    plain = TrainSettings(model="basic_cnn", method="network", weights="none")
    network = networks.build("basic_cnn", 3)
    before = network.head.weight.clone()
    assert load_start(network, plain, CLASSES) is None
    assert torch.equal(network.head.weight, before)
    origin = load_start(network, plain.model_copy(update={"start": folder}), CLASSES)
    assert origin is not None
    assert origin.file == f"bundle {read_bundle(folder).model_id}"

    imagenet = TrainSettings(model="mobilenet_v2", weights_path=shared_weights)
    origin = load_start(networks.build("mobilenet_v2", 3), imagenet, CLASSES)
    assert origin is not None
    assert origin.licence == "Apache-2.0 (ONNX model zoo)"


def test_random_layers_give_no_deep_features(shared_weights: Path) -> None:
    network = networks.build("mobilenet_v2_modified", 2)
    asked = TrainSettings(model=network.name, weights_path=shared_weights)
    with pytest.raises(UsageError, match="its features would be random: use"):
        load_start(network, asked, CLASSES[:2])
    assert load_start(network, asked.model_copy(update={"method": "network"}), CLASSES[:2])


def test_paths_of_a_start_are_taken_from_the_experiments_folder(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(
        '[[sources]]\npath = "images"\n[train]\nstart = "first/bundle"\nweights_path = "/w"\n',
        encoding="utf-8",
    )
    train = read_experiment(path).train
    assert (train.start, train.weights_path) == (tmp_path / "first" / "bundle", Path("/w"))
