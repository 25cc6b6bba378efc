"""Where ImageNet weights come from, and that they are the network's own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.models.weights.imagenet import VARIABLE, cache_folder, find_weights, load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.torchvision_import import import_torchvision_models

FILES = {
    "mobilenet_v2": "mobilenet_v2-imagenet1k-features.safetensors",
    "squeezenet1_1": "squeezenet1_1-imagenet1k.safetensors",
}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@torch.inference_mode()
@pytest.mark.parametrize("name", FILES)
def test_real_weights_give_torchvisions_features(name: str, shared_weights: Path) -> None:
    network = networks.build(name, 3).eval()
    head = network.head.weight.clone()
    origin = load_imagenet(network, source=shared_weights)
    assert (origin.file, origin.sha256) == (FILES[name], networks.ZOO[name].weights[0].sha256)
    assert torch.equal(network.head.weight, head)
    theirs = getattr(import_torchvision_models(), name)(weights=None).eval()
    theirs.load_state_dict(load_file(shared_weights / FILES[name]), strict=False)
    images = network.standardise(torch.randint(0, 256, (2, 224, 224), dtype=torch.uint8))
    wanted = nn.functional.adaptive_avg_pool2d(theirs.features(images), 1).flatten(1)
    torch.testing.assert_close(network.backbone(images), wanted, atol=1e-5, rtol=1e-5)


def test_order_of_places(
    shared_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "squeezenet1_1"
    with pytest.raises(
        PlatformError,
        match=rf"set {VARIABLE} to a folder with squeezenet.*\(from https://.*b8a52dc0.pth\)",
    ):
        find_weights(name, hub=False)
    assert cache_folder() == tmp_path / "cache" / "pulmospark" / "weights"
    places = [cache_folder(), tmp_path / "env", tmp_path / "given"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(shared_weights / FILES[name], place)
    assert find_weights(name, hub=False).parent == places[0]
    monkeypatch.setenv(VARIABLE, str(places[1]))
    assert find_weights(name, hub=False).parent == places[1]
    assert find_weights(name, source=places[2], hub=False).parent == places[2]
    # A folder of the environment that lacks this network does not hide the cache.
    (places[1] / FILES[name]).unlink()
    assert find_weights(name, hub=False).parent == places[0]


def test_a_file_of_torch_is_read_without_being_run(tmp_path: Path) -> None:
    theirs = import_torchvision_models().squeezenet1_1(weights=None)
    path = tmp_path / "own.pth"
    torch.save(theirs.state_dict(), path)
    network = networks.build("squeezenet1_1", 2)
    load_imagenet(network, source=path)
    wanted = theirs.state_dict()["features.0.weight"]
    assert torch.equal(network.backbone.state_dict()["features.0.weight"], wanted)


def test_a_fetched_file_is_kept_as_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub would have brought lies in the cache already."""
    theirs = import_torchvision_models().squeezenet1_1(weights=None)
    cache_folder().mkdir(parents=True)
    torch.save(theirs.state_dict(), cache_folder() / "squeezenet1_1-b8a52dc0.pth")
    network = networks.build("squeezenet1_1", 2)
    origin = load_imagenet(network)
    assert origin.file == "squeezenet1_1-b8a52dc0.safetensors"
    kept = sorted(path.name for path in cache_folder().iterdir())
    assert kept == [origin.file, f"{origin.file}.sha256"]
    assert load_imagenet(network, hub=False) == origin
    assert origin.licence == "BSD-3-Clause (torchvision)"
    # What was converted is verified by the sum that was written beside it.
    path = cache_folder() / origin.file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="download it again, or rename it"):
        load_imagenet(network, hub=False)


def test_a_file_as_the_hub_has_it_is_taken_from_a_folder_by_its_hash(tmp_path: Path) -> None:
    """Its name holds the first digits of its SHA-256; another's content is refused."""
    theirs = import_torchvision_models().squeezenet1_1(weights=None)
    path = tmp_path / "squeezenet1_1-b8a52dc0.pth"
    torch.save(theirs.state_dict(), path)
    assert find_weights("squeezenet1_1", source=tmp_path) == path
    with pytest.raises(InputError, match=r"but b8a52dc0\.\.\. for the published file"):
        load_imagenet(networks.build("squeezenet1_1", 2), source=tmp_path)


def test_a_users_own_file_has_no_licence_that_is_known(tmp_path: Path) -> None:
    theirs = import_torchvision_models().squeezenet1_1(weights=None)
    save_file(theirs.state_dict(), tmp_path / "own.safetensors")
    origin = load_imagenet(networks.build("squeezenet1_1", 2), source=tmp_path / "own.safetensors")
    assert (origin.file, origin.licence) == ("own.safetensors", None)


def test_side_branches_and_old_names_are_no_hindrance(tmp_path: Path) -> None:
    """InceptionV3's auxiliary branch is dropped; DenseNet's first files had dotted names."""
    models = import_torchvision_models()
    inception = models.inception_v3(weights=None, aux_logits=True, init_weights=False)
    save_file(inception.state_dict(), tmp_path / "inception.safetensors")
    network = networks.build("inception_v3", 2)
    load_imagenet(network, source=tmp_path / "inception.safetensors")
    key = "Mixed_7c.branch1x1.conv.weight"
    assert torch.equal(network.backbone.state_dict()[key], inception.state_dict()[key])

    dense = models.densenet121(weights=None).state_dict()
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])\.")
    dotted = {old.sub(r"\1.\2.", name): value for name, value in dense.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in dotted
    save_file(dotted, tmp_path / "dense.safetensors")
    network = networks.build("densenet121", 2)
    load_imagenet(network, source=tmp_path / "dense.safetensors")
    found = network.backbone.state_dict()
    assert all(torch.equal(dense[name], value) for name, value in found.items())


def test_layers_that_a_paper_added_stay_as_they_are(shared_weights: Path) -> None:
    network = networks.build("mobilenet_v2_modified", 2)
    before = network.backbone.state_dict()["added.0.weight"].clone()
    load_imagenet(network, source=shared_weights)
    plain = networks.build("mobilenet_v2", 2)
    load_imagenet(plain, source=shared_weights)
    found = network.backbone.state_dict()
    assert torch.equal(found["added.0.weight"], before)
    wanted = plain.backbone.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_flattened_variant_takes_the_same_file(shared_weights: Path) -> None:
    network = networks.build("squeezenet1_1_flattened", 2)
    assert load_imagenet(network, source=shared_weights).file == FILES["squeezenet1_1"]


def test_damaged_published_file_is_refused(shared_weights: Path, tmp_path: Path) -> None:
    content = bytearray((shared_weights / FILES["squeezenet1_1"]).read_bytes())
    content[-1] ^= 1
    (tmp_path / FILES["squeezenet1_1"]).write_bytes(content)
    with pytest.raises(InputError, match="download it again, or rename it"):
        load_imagenet(networks.build("squeezenet1_1", 2), source=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("drop", "it lacks 'features.0.bias' and 0 more"),
        ("add", "it has unknown 'features.99.bias'"),
        ("reshape", "it has another shape of 'features.0.bias'"),
        ("cut", "cannot be read as safetensors"),
    ],
)
def test_other_tensors_are_refused(
    change: str, message: str, shared_weights: Path, tmp_path: Path
) -> None:
    tensors = load_file(shared_weights / FILES["squeezenet1_1"])
    if change == "drop":
        del tensors["features.0.bias"]
    elif change == "add":
        tensors["features.99.bias"] = torch.zeros(1)
    elif change == "reshape":
        tensors["features.0.bias"] = torch.zeros(63)
    path = tmp_path / "own.safetensors"
    save_file(tensors, path)
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    network = networks.build("squeezenet1_1", 2)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_imagenet(network, source=path)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_another_networks_weights_are_refused(shared_weights: Path) -> None:
    with pytest.raises(InputError, match="not weights of squeezenet1_1"):
        load_imagenet(
            networks.build("squeezenet1_1", 2), source=shared_weights / FILES["mobilenet_v2"]
        )


def test_missing_weights_are_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no ImageNet weights exist: use weights = 'none'"):
        find_weights("basic_cnn")
    with pytest.raises(UsageError, match="no such weights file or folder"):
        find_weights("mobilenet_v2", source=tmp_path / "none")
    with pytest.raises(PlatformError, match=f"put {FILES['mobilenet_v2']} or mobilenet_v2-b"):
        find_weights("mobilenet_v2", source=tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    with pytest.raises(PlatformError, match="no such folder; correct or unset it"):
        find_weights("mobilenet_v2")
