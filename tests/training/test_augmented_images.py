"""Training with augmentation: children join the images they are of, and nothing else does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from data.expansions import CLASSES, expand_here, member, write_cohort
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.expand import ExpandSettings
from pulmospark.config.train import NetworkSettings, TrainSettings
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.data.cohort.table import Part, in_part, read_cohort
from pulmospark.experiment import pipeline
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.training.augmented_images import (
    ChildFeatureWork,
    check_augmentation,
    expanded_of,
    training_images,
)
from training import processes
from training.toys import toy_plan

if TYPE_CHECKING:
    from conftest import FinishedRun

PER_CLASS = 30


@pytest.mark.spark
def test_children_are_fitted_on_with_their_parents(
    finished_run: FinishedRun, spark: SparkSession, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished_run.folder.root, run.root)
    before = finished_run.experiment
    experiment = before.model_copy(
        update={
            "expand": ExpandSettings(per_class=PER_CLASS),
            "train": before.train.model_copy(update={"expanded": True}),
        }
    )
    made = pipeline.run_expand(experiment, run, spark, quiet=True)
    assert made is not None
    assert {one.images + one.copies for one in made.classes} == {PER_CLASS}
    result = pipeline.run_train(experiment, run, spark, quiet=True)
    assert result.feature_images == finished_run.result.train.feature_images + made.copies
    rows, cohort = pq.read_table(made.expanded / "table"), read_cohort(run.cohort)
    child = np.asarray(rows["draw"].to_pylist()) > 0
    for model in result.models:
        part = Part(Split.TRAIN, model.fold)
        children = int((in_part(rows, part) & child).sum())
        training_rows = in_part(cohort, part) | in_part(cohort, Part(Split.VALIDATION, model.fold))
        assert 0 < children < made.copies or model.fold is None
        assert model.images == int(training_rows.sum()) + children, model.name
    scored = pq.read_table(run.training / "scores", columns=["uri"])["uri"].to_pylist()
    assert not [uri for uri in scored if "#draw-" in uri]  # no child is tested or validated on

    other = experiment.model_copy(update={"seed": 77})
    pipeline.run_split(other, run, spark)
    with pytest.raises(InputError, match="another cohort: rerun `pulmospark expand`"):
        pipeline.run_train(other, run, spark, quiet=True)


def test_augmentation_on_the_fly_needs_epochs(tmp_path: Path) -> None:
    _, cohort = write_cohort(tmp_path, [member(1), member(2, "normal")])
    split = read_split(cohort)
    settings = TrainSettings(method="features", augment=AugmentSettings())
    with pytest.raises(UsageError, match="sees each image once"):
        check_augmentation(settings, None, cohort, split)
    check_augmentation(settings.model_copy(update={"method": "network"}), None, cohort, split)


def test_the_training_part_alone_comes_from_the_expanded_table(tmp_path: Path) -> None:
    rows = [member(n, CLASSES[n % 2], "test" if n > 7 else "train") for n in range(10)]
    images, cohort = write_cohort(tmp_path, rows)
    assert training_images(None, images, cohort) == (images, cohort)
    expanded = tmp_path / "expanded"
    expand_here(images, cohort, ExpandSettings(per_class=9), expanded)
    table, told = training_images(expanded, images, cohort)
    training_rows = read_cohort(told)
    assert training_rows.num_rows == int(in_part(training_rows, Part(Split.TRAIN)).sum()) == 18
    assert set(training_rows["uri"].to_pylist()) == set(pq.read_table(table)["uri"].to_pylist())
    settings = TrainSettings(expanded=True)
    assert expanded_of(settings, tmp_path / "tables") == expanded
    check_augmentation(settings, expanded, cohort, read_split(cohort))
    other = settings.model_copy(update={"expanded_path": tmp_path / "other"})
    assert expanded_of(other, tmp_path / "tables") == tmp_path / "other"
    assert expanded_of(TrainSettings(), tmp_path / "tables") is None


def test_images_that_have_their_features_get_no_second_ones(tmp_path: Path) -> None:
    images, cohort = write_cohort(tmp_path, [member(n, CLASSES[n % 2]) for n in range(6)])
    made = expand_here(images, cohort, ExpandSettings(per_class=3), tmp_path / "expanded")
    assert set(made["draw"].to_pylist()) == {0}
    none: Any = None  # no engine is opened where there is no child
    assert ChildFeatureWork(none, 12)(made) == {}


def test_images_are_changed_anew_on_the_fly_and_the_same_from_the_seed(tmp_path: Path) -> None:
    settings = NetworkSettings(epochs=2, batch_size=8, precision="fp32")
    ends = []
    for name, augment in (("a", AugmentSettings()), ("b", AugmentSettings()), ("c", None)):
        plan = toy_plan(tmp_path / name, settings=settings).model_copy(update={"augment": augment})
        processes.prepare(plan)
        ends.append(processes.run(plan))
    assert processes.same(ends[0], ends[1])
    assert not processes.same(ends[0], ends[2])
