"""Published experiments, repeated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.settings import PartFilms
from pulmospark.experiment.folder import run_folder
from pulmospark.experiment.presets import PRESETS, preset_of
from pulmospark.experiment.reproduce import RESULT, Reproduction, experiment_of, reproduce
from pulmospark.models import zoo


def test_the_presets_and_what_their_papers_report() -> None:
    told = {name: one.published.accuracy for name, one in PRESETS.items()}
    assert told == {
        "belman-lopez-2022-binary": 0.9917,
        "belman-lopez-2022-4class": 0.9403,
        "awan-2021-2class-inceptionv3": 1.0,
        "awan-2021-2class-resnet50": 1.0,
        "awan-2021-2class-vgg19": 1.0,
        "awan-2021-3class-inceptionv3": 0.97,
        "awan-2021-3class-resnet50": 0.9855,
        "awan-2021-3class-vgg19": 0.9855,
        "benbrahim-2020-inceptionv3": 0.9901,
        "benbrahim-2020-resnet50": 0.9803,
    }
    for one in PRESETS.values():
        if one.published.right is not None and one.published.films is not None:
            share = one.published.right / one.published.films
            assert share == pytest.approx(one.published.accuracy, abs=5e-5)
            assert sum(films.test for films in one.films.values()) == one.published.films
        assert one.guessed
        zoo.check_size(one.train.model, one.size)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [("belman-lopez-2022-binary", 2, 353_569), ("belman-lopez-2022-4class", 4, 1_328_900)],
)
def test_the_parameters_are_the_paper_s(name: str, classes: int, parameters: int) -> None:
    preset = preset_of(name)
    assert len(preset.classes) == classes
    network = zoo.build(preset.train.model, classes)
    assert sum(one.numel() for one in network.parameters()) == parameters
    covid = preset.films["COVID-19"]
    assert (covid.train + covid.validation, covid.test) == (400, 180)


def test_an_unknown_preset_and_a_folder_without_the_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one of belman"):
        preset_of("wang-2020")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no data set with 'COVID-19'"):
        experiment_of(PRESETS["benbrahim-2020-resnet50"], tmp_path, tmp_path, seed=1, processes=1)


@pytest.mark.spark
def test_a_small_part_of_a_preset_on_real_films(
    shared_data: Path, spark: SparkSession, tmp_path: Path
) -> None:
    whole = preset_of("belman-lopez-2022-binary")
    short = whole.train.network.model_copy(update={"epochs": 1})
    preset = replace(
        whole,
        films=dict.fromkeys(whole.classes, PartFilms(train=24, validation=6, test=12)),
        train=whole.train.model_copy(update={"network": short}),
    )
    experiment = experiment_of(preset, shared_data, tmp_path, seed=3, processes=1)
    assert {source.layout for source in experiment.sources} == {
        "covid_chestxray", "radiography_database", "kermany",
    }  # fmt: skip
    run = run_folder(experiment)
    told = reproduce(preset, experiment, run, spark, quiet=True)
    assert told.parameters == 353_569
    assert told.accuracy.denominator == sum(told.films["test"].values())
    assert told.trained_films == 2 * 2 * min(told.films["train"].values())
    assert told.smaller == ()
    assert told.report.is_file()
    assert Reproduction.model_validate_json((run.root / RESULT).read_text()) == told
