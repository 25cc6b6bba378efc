"""Published experiments, repeated."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pulmospark.cli.printing_comparisons import say_reproduction
from pulmospark.config.split import ImagesPerSplit
from pulmospark.core.errors import InputError, UsageError
from pulmospark.evaluation.results import Figure
from pulmospark.experiment.papers.presets import PRESETS, preset_of
from pulmospark.experiment.papers.reproduce import (
    RESULT,
    Reproduction,
    _expansion,
    _published,
    _smaller,
    check_per_class,
    experiment_of,
    reproduce,
)
from pulmospark.experiment.run_folder import run_folder
from pulmospark.models.zoo import networks
from pulmospark.training.param_groups import trained_parameters
from pulmospark.training.recipe import completed


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
        "akter-2021-mobilenetv2": 0.97,
        "akter-2021-modified": 0.98,
    }
    for one in PRESETS.values():
        if one.published.right is not None and one.published.images is not None:
            share = one.published.right / one.published.images
            assert share == pytest.approx(one.published.accuracy, abs=5e-5)
            assert sum(images.test for images in one.images.values()) == one.published.images
        assert one.guessed
        networks.check_size(one.train.model, one.size)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [("belman-lopez-2022-binary", 2, 353_569), ("belman-lopez-2022-4class", 4, 1_328_900)],
)
def test_the_parameters_are_the_paper_s(name: str, classes: int, parameters: int) -> None:
    preset = preset_of(name)
    assert len(preset.classes) == classes
    network = networks.build(preset.train.model, classes)
    assert sum(one.numel() for one in network.parameters()) == parameters
    covid = preset.images["COVID-19"]
    assert (covid.train + covid.validation, covid.test) == (400, 180)


def test_an_unknown_preset_and_a_folder_without_the_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose one of belman"):
        preset_of("wang-2020")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="contains no data set with 'COVID-19'"):
        experiment_of(PRESETS["benbrahim-2020-resnet50"], tmp_path, tmp_path, seed=1, processes=1)


def _a_few(data: Path, folder: Path, *, per_folder: int) -> Path:
    """Links to the sheets and to the first images of each folder of three public sets."""
    for name in ("covid-chestxray-dataset", "COVID-19_Radiography_Dataset", "chest_xray"):
        taken = Counter[Path]()
        for path in sorted((data / name).rglob("*.*")):
            taken[path.parent] += 1
            if path.is_file() and taken[path.parent] <= per_folder:
                link = folder / path.relative_to(data)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
    return folder


@pytest.mark.spark
def test_a_small_part_of_a_preset_on_real_images(
    shared_data: Path, spark: SparkSession, tmp_path: Path
) -> None:
    whole = preset_of("belman-lopez-2022-binary")
    short = whole.train.network.model_copy(update={"epochs": 1})
    preset = replace(
        whole,
        images=dict.fromkeys(whole.classes, ImagesPerSplit(train=24, validation=6, test=12)),
        train=whole.train.model_copy(update={"network": short}),
    )
    data = _a_few(shared_data, tmp_path / "data", per_folder=80)
    experiment = experiment_of(preset, data, tmp_path, seed=3, processes=1)
    assert {source.layout for source in experiment.sources} == {
        "covid_chestxray", "radiography_database", "kermany",
    }  # fmt: skip
    run = run_folder(experiment)
    told = reproduce(preset, experiment, run, spark, quiet=True)
    assert told.parameters == 353_569
    assert told.accuracy.denominator == sum(told.images["test"].values())
    assert told.trained_images == 2 * 2 * min(told.images["train"].values())
    assert told.smaller == ()
    # Wilson's interval of 357 of 360, by hand
    assert (told.published_low, told.published_high) == pytest.approx(
        (0.975789, 0.997162), abs=1e-6
    )
    assert told.leak is None
    assert told.groups <= told.accuracy.denominator
    assert told.report.is_file()
    assert Reproduction.model_validate_json((run.root / RESULT).read_text()) == told


def test_where_there_are_fewer_images_there_are_fewer_rows_in_proportion() -> None:
    preset = preset_of("akter-2021-modified")
    whole = sum(one.total for one in preset.images.values())
    assert whole == 3616 + 10_192

    def rows(here: int, per_class: int | None = None) -> int:
        images = {"train": {"COVID-19": here // 2, "normal": here - here // 2}}
        found = _expansion(preset, images, per_class)
        assert found is not None
        return found.per_class

    assert rows(whole) == 26_000
    assert rows(whole // 2) == 13_000
    assert rows(800) == round(26_000 * 800 / whole)
    assert rows(800, 26_000) == 26_000
    with pytest.raises(UsageError, match="makes no augmented copies"):
        check_per_class(preset_of("benbrahim-2020-resnet50"), 5)


def test_the_base_of_akter_s_networks_is_frozen() -> None:
    for name, trained in (("mobilenetv2", 1281 * 2), ("modified", 4_158_336 - 2_223_872 + 258)):
        preset = preset_of(f"akter-2021-{name}")
        network = networks.build(preset.train.model, 2)
        settings = completed(preset.train.network, preset.train.model, started=True)
        assert trained_parameters(network, settings) == trained
    assert any("filters" in text for text in preset.guessed)
    assert any("dropout of 0.2" in text for text in preset.guessed)


def test_what_a_person_reads_of_a_smaller_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = preset_of("belman-lopez-2022-4class")
    images = {
        part: dict.fromkeys(preset.classes, count)
        for part, count in {"train": 36, "validation": 4, "test": 18}.items()
    }
    accuracy = Figure(
        value=0.75, low=0.64, high=0.84, method="wilson", numerator=54, denominator=72,
        effective=61.2,
    )  # fmt: skip
    told = Reproduction(
        **_published(preset, 0.95),
        parameters=1_328_900,
        accuracy=accuracy,
        balanced_accuracy=accuracy,
        confidence=0.95,
        groups=55,
        images=images,
        trained_images=288,
        smaller=_smaller(preset, images),
        report=tmp_path / "report.html",
    )
    say_reproduction(told)
    said = re.sub(" +", " ", capsys.readouterr().out)
    for text in (
        "published 0.9403 (0.921 to 0.955, if independent) 677 of 720",
        "ours 0.750 (0.640 to 0.840) 54 of 72",
        "95% CIs over 55 patients (images if unknown), worth 61 independent images",
        "parameters 1,328,900; trained on 288 images",
        "test: 18 COVID-19, 18 normal, 18 bacterial, 18 viral",
        "smaller than the paper's: COVID-19: 58 images, the paper has 580",
        "smaller than the paper's: viral: 58 images, the paper has 980",
        "guessed: rotation: range not stated",
        "guessed: convolutions without padding",
        "guessed: dropout of 0.5 as in the network for two classes",
        "not a medical device",
    ):
        assert text in said
