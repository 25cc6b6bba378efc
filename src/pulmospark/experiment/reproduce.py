"""Reproduce: a published experiment on the data at hand, and its figure beside ours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from pyspark.sql import SparkSession

from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.settings import (
    ExpandSettings,
    Experiment,
    IngestSettings,
    SourceSettings,
    SplitSettings,
)
from pulmospark.core.tables import Split
from pulmospark.data.split_summary import SplitResult
from pulmospark.evaluation.results import Figure
from pulmospark.experiment import stages
from pulmospark.experiment.folder import RunFolder
from pulmospark.experiment.presets import LAYOUTS, Preset
from pulmospark.layouts.registry import data_sets

RESULT = "reproduction.json"


class Reproduction(BaseModel):
    """A published experiment, repeated."""

    model_config = ConfigDict(frozen=True)

    preset: str
    source: str
    parameters: int
    published: float
    """the paper's accuracy, 0 to 1"""
    published_right: int | None
    published_films: int | None
    accuracy: Figure
    """ours, with its interval over the patients that were tested"""
    films: dict[str, dict[str, int]]
    """part -> class -> films; those trained on before augmentation"""
    trained_films: int
    """films trained on, augmented ones with them"""
    smaller: tuple[str, ...]
    """where the data at hand is smaller than the paper's"""
    guessed: tuple[str, ...]
    """what the paper leaves open, and what was taken"""
    report: Path


def experiment_of(
    preset: Preset, data: Path, out: Path, *, seed: int, processes: int
) -> Experiment:
    """The preset as an experiment on the data sets of a folder.

    Args:
        preset: which.
        data: folder of the public data sets, side by side.
        out: folder under which the run's folder is made.
        seed: of the split and the training.
        processes: that train together.

    Raises:
        InputError: a class of the preset has none of its data sets there.
    """
    found = [place for place in data_sets(data) if place.layout.name in LAYOUTS]
    there = {place.layout.name for place in found}
    for name, findings in preset.classes.items():
        wanted = {finding.partition(":")[0] for finding in findings}
        if not wanted & there:
            raise InputError(
                f"{data}: has no data set with {name!r}: put one of {', '.join(sorted(wanted))} "
                "there (see `pulmospark layouts`)"
            )
    used = {f.partition(":")[0] for findings in preset.classes.values() for f in findings}
    return Experiment(
        name=preset.name,
        seed=seed,
        out=out,
        sources=tuple(
            SourceSettings(path=place.folder, layout=place.layout.name, name=place.layout.name)
            for place in found
            if place.layout.name in used
        ),
        classes=dict(preset.classes),
        ingest=IngestSettings(size=preset.size),
        split=SplitSettings(films=dict(preset.films)),
        train=preset.train.model_copy(update={"processes": processes}),
    )


def reproduce(
    preset: Preset,
    experiment: Experiment,
    run: RunFolder,
    spark: SparkSession,
    *,
    quiet: bool = False,
) -> Reproduction:
    """Run a preset and lay its figure beside the paper's.

    Args:
        preset: which.
        experiment: as :func:`experiment_of` made it.
        run: its folder.
        spark: the session.
        quiet: show no progress.

    Raises:
        ClassError: a class has no film.
        EnvironmentProblem: weights are missing.
        TrainingError: a training process failed.
    """
    stages.run_ingest(experiment, run, spark, quiet=quiet)
    parted = stages.run_split(experiment, run, spark, quiet=quiet)
    films = _films(parted)
    if preset.doubled and preset.augment is not None:
        rows = preset.doubled * min(films[Split.TRAIN].values())
        expand = ExpandSettings(per_class=rows, augment=preset.augment)
        experiment = experiment.model_copy(update={"expand": expand})
        stages.run_expand(experiment, run, spark, quiet=quiet)
    trained = stages.run_train(experiment, run, spark, quiet=quiet)
    evaluated = stages.run_evaluate(experiment, run, spark, quiet=quiet)
    result = Reproduction(
        preset=preset.name,
        source=preset.source,
        parameters=trained.parameters,
        published=preset.published.accuracy,
        published_right=preset.published.right,
        published_films=preset.published.films,
        accuracy=evaluated.evaluation.accuracy,
        films=films,
        trained_films=trained.models[-1].films,
        smaller=_smaller(preset, films),
        guessed=preset.guessed,
        report=stages.run_report(experiment, run),
    )
    files.write_json(run.root / RESULT, result.model_dump(mode="json"))
    return result


def _films(parted: SplitResult) -> dict[str, dict[str, int]]:
    films: Counter[tuple[str, str]] = Counter()
    for share in parted.shares:
        films[share.split, share.label] += share.films
    return {
        part.value: {name: films[part.value, name] for name in parted.classes}
        for part in (Split.TRAIN, Split.VALIDATION, Split.TEST)
    }


def _smaller(preset: Preset, films: dict[str, dict[str, int]]) -> tuple[str, ...]:
    told = []
    for name, wanted in preset.films.items():
        here = sum(part[name] for part in films.values())
        # Whole patients are drawn: the last one may have had more films than were left.
        if here < 0.97 * wanted.total:
            told.append(
                f"{name}: {here} films, and the paper has {wanted.total}; its parts keep their "
                "proportions"
            )
    return tuple(told)
