"""The zoo's networks are the published ones: counts, features and stages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.models.zoo.backbones import without
from pulmospark.models.zoo.catalogue import FLATTENED, ZOO, check_size, entry
from pulmospark.models.zoo.library_entries import library_entry
from pulmospark.models.zoo.network import Network
from pulmospark.models.zoo.networks import build, stages
from pulmospark.models.zoo.paper_networks import EvenSides
from pulmospark.models.zoo.torchvision_import import import_torchvision_models

FROM_TORCHVISION = tuple(name for name, known in ZOO.items() if known.weights and not known.added)
LAST = {
    "mobilenet_v2": "classifier.1",
    "vgg19": "classifier.6",
    "resnet50": "fc",
    "inception_v3": "fc",
    "densenet121": "classifier",
    "efficientnet_b0": "classifier.1",
}


def _count(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


def _shapes(name: str, classes: int | None = None) -> Network:
    """A network without numbers: shapes alone."""
    with torch.device("meta"):
        return build(name, classes or entry(name).classes or 2)


@pytest.mark.parametrize("name", FROM_TORCHVISION)
def test_parameters_are_those_that_torchvision_publishes(name: str) -> None:
    published = import_torchvision_models().get_model_weights(name)
    assert {weights.meta["num_params"] for weights in published} == {entry(name).parameters}
    hubs = {file.url for file in entry(name).weights if file.url}
    assert hubs <= {weights.url for weights in published}


@pytest.mark.parametrize("name", [*ZOO, *FLATTENED])
def test_parameters_are_those_of_the_network(name: str) -> None:
    known = entry(name)
    network = _shapes(name)
    assert _count(network.backbone) == known.backbone_parameters
    assert known.parameters == known.backbone_parameters + known.side_parameters + (
        known.outputs * (known.width + 1)
    )


@pytest.mark.parametrize("name", [*ZOO, *FLATTENED])
def test_features_have_the_width_that_is_told(name: str) -> None:
    known = entry(name)
    network = _shapes(name).eval()
    images = torch.zeros(2, len(known.mean), known.input_size, known.input_size, device="meta")
    assert network.backbone(images).shape == (2, known.width)


def test_belman_lopez_counts_are_the_papers() -> None:
    assert entry("belman_lopez_2022_binary").parameters == 353_569
    assert entry("belman_lopez_2022_4class").parameters == 1_328_900
    assert _count(build("belman_lopez_2022_binary", 2)) == 353_569
    assert _count(build("belman_lopez_2022_4class", 4)) == 1_328_900
    with pytest.raises(UsageError, match="needs 2 classes, but there are 3"):
        build("belman_lopez_2022_binary", 3)


@torch.inference_mode()
def test_one_logit_is_a_sigmoid() -> None:
    torch.manual_seed(4)
    network = build("belman_lopez_2022_binary", 2).eval()
    pixels = torch.randint(0, 256, (3, 200, 200), dtype=torch.uint8)
    z = network.head(network.features(pixels))
    chances = torch.softmax(network(pixels), dim=1)
    torch.testing.assert_close(chances[:, 1:], torch.sigmoid(z))
    torch.testing.assert_close(chances[:, :1], torch.sigmoid(-z))
    labels = torch.tensor([0, 1, 1])
    wanted = nn.functional.binary_cross_entropy_with_logits(z[:, 0], labels.float())
    torch.testing.assert_close(nn.functional.cross_entropy(network(pixels), labels), wanted)


def test_layers_of_belman_lopez_are_the_papers() -> None:
    layers = [type(one).__name__ for one in _shapes("belman_lopez_2022_binary").modules()]
    assert [name for name in layers if name in ("Conv2d", "ReLU", "MaxPool2d")] == [
        *["Conv2d", "ReLU", "MaxPool2d"] * 6
    ]
    four = _shapes("belman_lopez_2022_4class", 4)
    filters = [one.out_channels for one in four.modules() if isinstance(one, nn.Conv2d)]
    assert filters == [32, 64, 64, 128, 128]


def test_layers_of_the_modified_mobilenet_are_the_papers() -> None:
    added = _shapes("mobilenet_v2_modified").backbone.get_submodule("added")
    kernels = [one.kernel_size[0] for one in added.modules() if isinstance(one, nn.Conv2d)]
    assert kernels == [3, 2, 1, 2, 1, 1, 2, 2, 3]
    pools = [type(one).__name__ for one in added.modules() if "Pool" in type(one).__name__]
    assert pools == [*["AvgPool2d"] * 2, *["MaxPool2d"] * 3, "AvgPool2d"]
    assert sum(isinstance(one, nn.Dropout) for one in added.modules()) == 7
    known = entry("mobilenet_v2_modified")
    assert known.frozen_stages == len(known.stages) - 1
    assert any("128 filters" in text for text in known.guessed)


@torch.inference_mode()
@pytest.mark.parametrize("name", [name for name in LAST if name != "vgg19"])
def test_logits_are_torchvisions(name: str) -> None:
    """The same weights and the same last layer: torchvision's own network is the measure."""
    torch.manual_seed(5)
    options = {"init_weights": True} if name == "inception_v3" else {}
    theirs = import_torchvision_models().get_model(name, weights=None, **options).eval()
    known, ours = entry(name), build(name, 4).eval()
    ours.backbone.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if not k.startswith(known.replaced)}
    )
    without(theirs, LAST[name], ours.head)
    pixels = torch.randint(0, 256, (2, 96, 96), dtype=torch.uint8)
    if name == "inception_v3":
        # As torchvision uses it: ImageNet's figures outside, turned to -1..1 within.
        theirs.transform_input = True
        mean, std = (
            torch.tensor(v).reshape(1, 3, 1, 1)
            for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        images = (pixels.unsqueeze(1) / 255.0 - mean) / std
    else:
        images = ours.standardise(pixels)
    torch.testing.assert_close(ours(pixels), theirs(images), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_squeezenets_features_are_torchvisions() -> None:
    torch.manual_seed(5)
    theirs = import_torchvision_models().squeezenet1_1(weights=None).eval()
    ours = build("squeezenet1_1", 4).eval()
    ours.backbone.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if not k.startswith("classifier.")}
    )
    images = torch.rand(2, 3, 96, 96)
    wanted = nn.functional.adaptive_avg_pool2d(theirs.features(images), 1).flatten(1)
    torch.testing.assert_close(ours.backbone(images), wanted, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "densenet121", "squeezenet1_1"])
def test_the_mean_of_a_flattened_map_is_the_pooled_feature(name: str) -> None:
    torch.manual_seed(6)
    pooled, flat = build(name, 2).eval(), build(f"{name}_flattened", 2).eval()
    flat.backbone.load_state_dict(pooled.backbone.state_dict())
    size = entry(name).input_size
    images = torch.rand(1, 3, size, size)
    features = flat.backbone(images)
    means = features.reshape(1, entry(name).width, -1).mean(dim=2)
    torch.testing.assert_close(means, pooled.backbone(images), atol=1e-4, rtol=1e-4)
    with pytest.raises(UsageError, match=f"it only accepts {size} pixels"):
        check_size(flat.name, size + 1)


def test_flattened_widths_are_the_papers() -> None:
    widths = {name: entry(f"{name}_flattened").width for name in ("vgg19", "resnet50")}
    assert widths == {"vgg19": 25_088, "resnet50": 100_352}
    assert entry("inception_v3_flattened").width == 131_072


@pytest.mark.parametrize("name", [*ZOO, *FLATTENED, "torchvision:vit_b_16"])
def test_each_parameter_is_in_one_stage_in_the_order_of_the_input(name: str) -> None:
    network = _shapes(name)
    names = stages(network)
    assert len(names) >= 3
    homes = []
    for parameter, _ in network.backbone.named_parameters(prefix="backbone"):
        where = [
            number
            for number, prefixes in enumerate(names)
            if any(f"{parameter}.".startswith(f"{prefix}.") for prefix in prefixes)
        ]
        assert len(where) == 1, parameter
        homes.append(where[0])
    assert set(homes) == set(range(len(names)))
    # ViT's class token is made before its first layer and used after it.
    assert homes == sorted(homes) or name.startswith("torchvision:")


@pytest.mark.parametrize(
    ("name", "width", "size"),
    [
        ("convnext_tiny", 768, 224),
        ("resnet18", 512, 224),
        ("efficientnet_b4", 1792, 380),
        ("googlenet", 1024, 224),
        ("mobilenet_v3_small", 1024, 224),
        ("vit_b_16", 768, 224),
    ],
)
def test_any_classifier_of_torchvision_goes_by_its_name(name: str, width: int, size: int) -> None:
    known = entry(f"torchvision:{name}")
    published = import_torchvision_models().get_model_weights(name).DEFAULT
    assert (known.width, known.input_size) == (width, size)
    assert known.parameters == published.meta["num_params"]
    assert known.weights[0].url == published.url
    assert known.mean == (
        (0.5,) * 3 if name == "googlenet" else tuple(published.transforms().mean)
    )


@torch.inference_mode()
def test_a_librarys_network_gives_that_networks_logits() -> None:
    torch.manual_seed(7)
    theirs = import_torchvision_models().resnet18(weights=None).eval()
    ours = build("torchvision:resnet18", 3).eval()
    ours.backbone.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    )
    theirs.fc = ours.head
    pixels = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(ours(pixels), theirs(ours.standardise(pixels)))


def test_a_network_of_one_size_takes_no_other() -> None:
    with pytest.raises(UsageError, match="only accepts 224 pixels"):
        check_size("torchvision:vit_b_16", 256)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:resnet19", "not a classifier of torchvision; similar: resnet"),
        ("torchvision:fcn_resnet50", "not a classifier of torchvision"),
        ("torchvision:squeezenet1_0", "no linear layer that the head could replace"),
        ("keras:resnet50", "not in the zoo .*; choose one of mobilenet_v2"),
        ("vgg99", "'vgg99': not in the zoo"),
    ],
)
def test_names_that_there_are_not(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        entry(name)


@pytest.fixture
def no_memory() -> Iterator[None]:
    """Entries of libraries are remembered; not from one of these tests to the next."""
    library_entry.cache_clear()
    yield
    library_entry.cache_clear()


@pytest.mark.usefixtures("no_memory")
def test_timm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(PlatformError, match=r"pip install .*'\.\[timm\]'"):
        entry("timm:resnet18")


@pytest.mark.usefixtures("no_memory")
def test_timms_own_facts_are_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the three functions of timm that are called."""

    def create_model(name: str, *, pretrained: bool) -> nn.Module:
        assert (name, pretrained) == ("resnet18", False)
        network: nn.Module = import_torchvision_models().resnet18(weights=None)
        config = {
            "input_size": (3, 288, 288),
            "mean": (0.1, 0.2, 0.3),
            "std": (0.4, 0.5, 0.6),
            "hf_hub_id": "timm/resnet18.a1_in1k",
            "license": "apache-2.0",
        }
        network.__dict__["pretrained_cfg"] = config
        return network

    timm = SimpleNamespace(
        create_model=create_model, is_model="resnet18".__eq__, list_models=lambda: ["resnet18"]
    )
    monkeypatch.setitem(sys.modules, "timm", timm)
    known = entry("timm:resnet18")
    assert (known.width, known.input_size, known.min_size) == (512, 288, 32)
    assert known.parameters == 11_689_512
    assert (known.mean, known.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    (file,) = known.weights
    assert (file.name, file.licence) == ("resnet18.a1_in1k.safetensors", "apache-2.0")
    assert file.home == "https://huggingface.co/timm/resnet18.a1_in1k"
    assert build("timm:resnet18", 3).head.weight.shape == (3, 512)
    with pytest.raises(UsageError, match="not a classifier of timm; similar: resnet18"):
        entry("timm:resnet19")


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9))
def test_pooling_of_even_sides_rounds_up(height: int, width: int) -> None:
    maps = torch.rand(2, 3, height, width)
    even = EvenSides()(maps)
    for found, wanted in (
        (nn.AvgPool2d(2)(even), nn.AvgPool2d(2, ceil_mode=True)(maps)),
        (nn.MaxPool2d(2)(even), nn.MaxPool2d(2, ceil_mode=True)(maps)),
    ):
        torch.testing.assert_close(found, wanted)


@settings(max_examples=8, deadline=None)
@given(size=st.integers(32, 300))
def test_the_modified_mobilenet_takes_any_size_from_its_smallest(size: int) -> None:
    network = _shapes("mobilenet_v2_modified").eval()
    images = torch.zeros(1, 3, size, size, device="meta")
    assert network.backbone(images).shape == (1, 128)
