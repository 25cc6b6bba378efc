"""Networks and methods of a comparison, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import write_untrained
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.config.train import TrainSettings
from pulmospark.core.errors import UsageError
from pulmospark.experiment.compare.arms import (
    arm_titles,
    arms_of,
    parse_arm,
    settings_for,
    start_of,
)
from pulmospark.models.zoo.catalogue import ZOO

_SOURCES = (SourceSettings(path=Path("images")),)
_FROZEN = Experiment(sources=_SOURCES, train=TrainSettings(method="features"))
_TRAINED = Experiment(sources=_SOURCES, train=TrainSettings(method="network"))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ("mobilenet_v2:features", "mobilenet_v2:network"),
            [("mobilenet_v2", "features"), ("mobilenet_v2", "network")],
        ),
        (
            ("mobilenet_v2", "mobilenet_v2:network"),
            [("mobilenet_v2", "features"), ("mobilenet_v2", "network")],
        ),
        (
            ("torchvision:resnet18", "torchvision:resnet18:network"),
            [
                ("torchvision:resnet18", "features"),
                ("torchvision:resnet18", "network"),
            ],
        ),
    ],
)
def test_a_method_may_stand_behind_the_last_colon(
    names: tuple[str, ...], told: list[tuple[str, str]]
) -> None:
    arms = arms_of(_FROZEN, names)
    assert [(arm.model, arm.settings.train.method) for arm in arms] == told
    assert [arm.settings.train.model for arm in arms] == [arm.model for arm in arms]
    assert [arm.name for arm in arms] == list(names)


@given(
    st.sampled_from(["mobilenet_v2", "torchvision:resnet18", "timm:vit_tiny_patch16_224.augreg"]),
    st.sampled_from(["features", "network", None]),
)
def test_a_librarys_colon_is_no_methods(model: str, method: str | None) -> None:
    assert parse_arm(model if method is None else f"{model}:{method}") == (model, method)


def test_a_name_alone_takes_the_experiments_method() -> None:
    arms = arms_of(_TRAINED, ("mobilenet_v2", "mobilenet_v2:features"))
    assert [arm.settings.train.method for arm in arms] == ["network", "features"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([name for name, one in ZOO.items() if one.weights and not one.added]),
            st.sampled_from(["features", "network"]),
        ),
        min_size=2,
        max_size=8,
        unique=True,
    )
)
def test_no_two_arms_share_a_folder(chosen: list[tuple[str, str]]) -> None:
    arms = arms_of(_FROZEN, [f"{model}:{method}" for model, method in chosen])
    assert len({arm.folder for arm in arms}) == len(arms)


def test_a_folder_has_no_colon() -> None:
    (one, _) = arms_of(_FROZEN, ("torchvision:resnet18:network", "mobilenet_v2"))
    assert one.folder == "torchvision_resnet18-network"


def test_titles_say_how_a_network_was_trained_where_it_stands_twice() -> None:
    arms = arms_of(_FROZEN, ("mobilenet_v2", "squeezenet1_1", "mobilenet_v2:network"))
    assert arm_titles(arms) == (
        "MobileNetV2 (frozen features)",
        "SqueezeNet 1.1",
        "MobileNetV2 (fine-tuned)",
    )
    scratch = settings_for(_TRAINED, "basic_cnn")
    assert scratch.train.weights == "none"
    (arm, _) = arms_of(_TRAINED, ("basic_cnn", "mobilenet_v2"))
    assert arm.how == "from scratch"


def test_a_network_without_weights_is_trained_itself() -> None:
    chosen = settings_for(_FROZEN, "basic_cnn").train
    assert (chosen.model, chosen.method, chosen.weights) == ("basic_cnn", "network", "none")
    added = settings_for(_FROZEN, "mobilenet_v2_modified").train
    assert (added.method, added.weights) == ("network", "imagenet")
    kept = settings_for(_FROZEN, "mobilenet_v2").train
    assert (kept.model, kept.method, kept.weights) == ("mobilenet_v2", "features", "imagenet")


def test_a_start_is_that_of_its_own_network_alone(tmp_path: Path) -> None:
    assert start_of(_TRAINED, ("mobilenet_v2", "basic_cnn")) is None
    bundle = write_untrained(tmp_path / "bundle")  # a basic CNN
    started = _FROZEN.model_copy(update={"train": TrainSettings(start=bundle)})
    arms = arms_of(started, ("basic_cnn:network", "basic_cnn:features", "mobilenet_v2"))
    own, frozen, other = (arm.settings.train for arm in arms)
    assert (own.start, own.method) == (bundle, "network")
    assert (frozen.start, frozen.method) == (bundle, "features")
    assert (other.start, other.weights) == (None, "imagenet")
    with pytest.raises(UsageError, match="holds basic_cnn, which is not compared"):
        arms_of(started, ("mobilenet_v2", "squeezenet1_1"))


def test_frozen_features_leave_augmentation_on_the_fly_to_the_other_arm() -> None:
    train = TrainSettings(method="network", augment=AugmentSettings())
    experiment = Experiment(sources=_SOURCES, train=train)
    frozen, tuned = arms_of(experiment, ("mobilenet_v2:features", "mobilenet_v2"))
    assert frozen.settings.train.augment is None
    assert tuned.settings.train.augment == AugmentSettings()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("mobilenet_v2",), "names 1: give 2"),
        (("mobilenet_v2", "mobilenet_v2"), "is given 2 times.*as mobilenet_v2:network"),
        (("mobilenet_v2", "mobilenet_v2:features"), "with method features is given 2 times"),
        (("mobilenet_v2", "resnet_of_mine"), "not in the zoo"),
        (("mobilenet_v2", "mobilenet_v2:trained"), "not in the zoo"),
        (("mobilenet_v2", "timm:network"), "'timm': not in the zoo"),
        (("mobilenet_v2", "basic_cnn:features"), "compare basic_cnn:network"),
        (("mobilenet_v2", "mobilenet_v2_modified:features"), "added layers have no published"),
    ],
)
def test_what_cannot_be_compared_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        arms_of(_FROZEN, names)


def test_a_network_that_takes_no_such_image_is_refused() -> None:
    small = _FROZEN.model_copy(update={"ingest": _FROZEN.ingest.model_copy(update={"size": 20})})
    with pytest.raises(UsageError, match="under its minimum"):
        arms_of(small, ("mobilenet_v2", "basic_cnn"))
