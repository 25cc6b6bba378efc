"""A network's own rates and batches, where the settings leave them open."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.config.train import NetworkOptions, TrainSettings
from pulmospark.experiment.compare.arms import settings_for
from pulmospark.experiment.run_folder import with_changes
from pulmospark.models.zoo.catalogue import ZOO, entry
from pulmospark.training.recipe import network_settings

_OPEN = ("learning_rate", "stage_factor", "batch_size")


def _train(model: str, **network: object) -> TrainSettings:
    return TrainSettings(
        model=model, method="network", network=NetworkOptions.model_validate(network)
    )


def test_what_is_not_assessable_is_the_networks_own() -> None:
    vgg, mobile = (network_settings(_train(name)) for name in ("vgg19", "mobilenet_v2"))
    assert vgg.learning_rate < mobile.learning_rate
    assert vgg.batch_size < mobile.batch_size
    assert vgg.stage_factor < 1


def test_from_scratch_all_stages_learn_alike() -> None:
    settings = network_settings(_train("mobilenet_v2").model_copy(update={"weights": "none"}))
    assert settings.stage_factor == 1
    start = {"weights": "none", "start": Path("bundle")}
    carried = network_settings(_train("mobilenet_v2").model_copy(update=start))
    assert carried.stage_factor == entry("mobilenet_v2").fine_tuning.stage_factor


@given(
    st.sampled_from(sorted(ZOO)),
    st.sampled_from(["imagenet", "none"]),
    st.fixed_dictionaries(
        {},
        optional={
            "learning_rate": st.floats(1e-6, 1.0),
            "stage_factor": st.floats(0.01, 1.0),
            "batch_size": st.integers(1, 4096),
        },
    ),
)
def test_a_users_value_always_wins(model: str, weights: str, given: dict[str, float]) -> None:
    train = _train(model, **given).model_copy(update={"weights": weights})
    settings = network_settings(train)
    own = entry(model).fine_tuning if weights == "imagenet" else entry(model).from_scratch
    assert {name: getattr(settings, name) for name in _OPEN} == {
        name: given.get(name, getattr(own, name)) for name in _OPEN
    }


def test_another_network_brings_its_own_but_not_over_a_users() -> None:
    mine = Experiment(
        sources=(SourceSettings(path=Path("images")),), train=_train("mobilenet_v2", batch_size=8)
    )
    kept = Experiment.model_validate_json(mine.model_dump_json())  # as the run's folder has it
    settings = network_settings(settings_for(kept, "vgg19").train)
    assert settings.batch_size == 8
    assert settings.learning_rate == entry("vgg19").fine_tuning.learning_rate
    changed = with_changes(kept, {"train.network.learning_rate": "0.25"})
    assert network_settings(changed.train).learning_rate == 0.25


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_network_has_sensible_rates(name: str) -> None:
    for recipe in (entry(name).fine_tuning, entry(name).from_scratch):
        assert 1e-5 <= recipe.learning_rate <= 1e-2
        assert 0.3 <= recipe.stage_factor <= 1
        assert 8 <= recipe.batch_size <= 64
