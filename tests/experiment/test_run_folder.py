"""Settings changed with ``--set``, by words."""

from __future__ import annotations

from typing import Any

import pytest

from pulmospark.config.experiment import Experiment
from pulmospark.core.errors import UsageError
from pulmospark.experiment.run_folder import with_changes

_SET = Experiment.model_validate(
    {
        "sources": [{"path": "images"}],
        "classes": {"none": ["No Finding"], "covid": ["COVID-19"]},
        "ingest": {"crop": "lungs"},
        "expand": {"per_class": 5},
        "train": {
            "expanded": True,
            "start": "earlier/bundle",
            "network": {"learning_rate": 0.5},
            "augment": {},
        },
        "evaluate": {"positive_class": "covid"},
        "tracking": {"mlflow": "store"},
    }
)


def _told(experiment: Experiment, key: str) -> Any:
    value: Any = experiment
    for name in key.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(
    "key",
    [
        "train.start",
        "train.augment",
        "train.network.learning_rate",
        "train.weights_path",
        "evaluate.positive_class",
        "tracking.mlflow",
        "expand",
    ],
)
@pytest.mark.parametrize("word", ["none", ""])
def test_none_unsets_what_may_be_unset(key: str, word: str) -> None:
    unset = with_changes(_SET, {key: word})
    assert _told(unset, key) is None
    assert with_changes(unset, {key: word}) == unset


@pytest.mark.parametrize(
    "key", ["train.weights", "ingest.crop", "split.balance", "train.model", "name"]
)
def test_none_stays_a_word_where_it_is_one(key: str) -> None:
    assert _told(with_changes(_SET, {key: "none"}), key) == "none"


@pytest.mark.parametrize("key", ["seed", "classes", "classes.none", "ingest"])
def test_what_cannot_be_unset_is_not(key: str) -> None:
    with pytest.raises(UsageError, match=f"--set: {key.partition('.')[0]}"):
        with_changes(_SET, {key: "none"})


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(UsageError, match=r"--set train\.stop: no such setting"):
        with_changes(_SET, {"train.stop": "none"})
