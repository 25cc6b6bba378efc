"""Compare: several networks, trained and tested on the same films."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pulmospark.core import files, limits
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.settings import Experiment
from pulmospark.data.split_summary import read_split
from pulmospark.evaluation.paired import holm, paired_difference
from pulmospark.experiment import stages
from pulmospark.experiment.evaluation import EvaluateResult, read_evaluation
from pulmospark.experiment.folder import RunFolder
from pulmospark.models import zoo
from pulmospark.models.bundle import read_bundle
from pulmospark.report.comparison import write_comparison
from pulmospark.report.comparison_content import (
    Comparison,
    ModelFigures,
    ModelPair,
    with_frontier,
)
from pulmospark.scoring.speed import scoring_speed
from pulmospark.scoring.works import pixels_of
from pulmospark.spark.chunks import parts_of
from pulmospark.training.records import TrainResult
from pulmospark.training.train import read_training

_RESULT, _TABLE, _PAGE = "comparison.json", "comparison.csv", "comparison.html"


def compare(
    experiment: Experiment,
    run: RunFolder,
    models: Sequence[str],
    spark: SparkSession,
    *,
    quiet: bool = False,
) -> Comparison:
    """Train each network on the same parts, test it on the same films, and lay them side by side.

    A network without published weights is trained from scratch, as a CNN. A bundle that the
    experiment starts from is the start of its own network alone, and a note says so. One that
    was compared before, with the same settings and cohort, is not trained again.

    Args:
        experiment: the settings; its own network does not matter.
        run: folder of the run; ingest and split must have left their outcome there.
        models: names in the zoo.
        spark: the session.
        quiet: show no progress.

    Raises:
        UsageError: a name is unknown or stands twice, there are too few or too many, one
            takes no image of the experiment's size, or ``train.start`` fits none.
        BundleError: the bundle of ``train.start`` is missing or damaged.
        InputError: ingest or split is missing.
        EnvironmentProblem: weights are missing.
        TrainingError: a training process failed.
    """
    check_models(models, experiment.ingest.size)
    started = start_of(experiment, models)
    parted = read_split(run.cohort)
    found = []
    for name in models:
        chosen = settings_for(experiment, name, start=name == started)
        place = RunFolder(run.comparison / name, shared=run.shared or run.root)
        _run_once(chosen, place, parted.cohort_id, spark, quiet=quiet)
        found.append((read_training(place.training), read_evaluation(place.evaluation), place))
    films = _some_films(run.tables / "images", experiment.ingest.size)
    figures = tuple(
        _figures(name, trained, evaluated, place, films)
        for name, (trained, evaluated, place) in zip(models, found, strict=True)
    )
    told = found[0][1].evaluation
    result = Comparison(
        folder=run.comparison,
        cohort_id=parted.cohort_id,
        classes=told.classes,
        films=told.films,
        groups=told.groups,
        folds=parted.folds,
        confidence=told.confidence,
        phantoms=experiment.phantoms,
        models=with_frontier(figures),
        pairs=_pairs(experiment, {name: one[2] for name, one in zip(models, found, strict=True)}),
        notes=_notes(experiment, models, started),
    )
    _write(result)
    return result


def check_models(models: Sequence[str], size: int) -> None:
    """Refuse what cannot be compared, before anything is trained.

    Raises:
        UsageError: a name is unknown or stands twice, there are too few or too many, or one
            takes no image of ``size`` pixels.
    """
    if not 2 <= len(models) <= limits.COMPARED_MODELS_MAX:
        raise UsageError(
            f"--models names {len(models)}: give 2 to {limits.COMPARED_MODELS_MAX}, with commas "
            "between them"
        )
    if len(set(models)) < len(models):
        raise UsageError(f"--models {','.join(models)}: each network may stand once")
    for name in models:
        zoo.check_size(name, size)


def start_of(experiment: Experiment, models: Sequence[str]) -> str | None:
    """The network that starts from the bundle of ``train.start``; ``None``: there is no bundle.

    Raises:
        UsageError: the bundle holds none of the networks that are compared.
        BundleError: it is missing or damaged.
    """
    if (start := experiment.train.start) is None:
        return None
    held = read_bundle(start).config.model
    if held not in models:
        raise UsageError(
            f"train.start: {start} holds {held}, which is not compared: add it to --models, or "
            "leave the start out (--set train.start=none)"
        )
    return held


def settings_for(experiment: Experiment, model: str, *, start: bool = False) -> Experiment:
    """The experiment with another network; from scratch where no weights are published.

    Args:
        experiment: the settings.
        model: the network.
        start: ``train.start`` is a bundle of this network, and is kept.
    """
    known = zoo.entry(model)
    changes: dict[str, object] = {"model": model}
    if start:
        return experiment.model_copy(update={"train": experiment.train.model_copy(update=changes)})
    changes["start"] = None
    if not known.weights:
        changes |= {"method": "network", "weights": "none"}
    elif known.added:  # whose features would be random before they are trained
        changes |= {"method": "network", "weights": "imagenet"}
    elif experiment.train.method == "features":
        changes |= {"weights": "imagenet"}
    return experiment.model_copy(update={"train": experiment.train.model_copy(update=changes)})


def read_comparison(folder: Path) -> Comparison:
    """The result that the last comparison into ``folder`` left.

    Raises:
        InputError: there is none.
    """
    return Comparison.model_validate(files.read_json(folder / _RESULT))


def _notes(experiment: Experiment, models: Sequence[str], started: str | None) -> tuple[str, ...]:
    if started is None:
        return ()
    others = ", ".join(name for name in models if name != started)
    return (
        f"{started} starts from the bundle {experiment.train.start}; a bundle is the start of its "
        f"own network alone, so {others} do not: they start from ImageNet's weights, or from "
        "scratch where there are none, and have seen less",
    )


def _start_words(trained: TrainResult) -> str:
    if trained.weights is None:
        return "none"
    return "bundle" if str(trained.weights["file"]).startswith("bundle ") else "imagenet"


def _run_once(
    experiment: Experiment, place: RunFolder, cohort_id: str, spark: SparkSession, *, quiet: bool
) -> None:
    if not _is_done(experiment, place, cohort_id):
        stages.run_train(experiment, place, spark, quiet=quiet)
        stages.run_evaluate(experiment, place, spark, quiet=quiet)
        stages.run_report(experiment, place)


def _is_done(experiment: Experiment, place: RunFolder, cohort_id: str) -> bool:
    try:
        same = files.read_json(place.settings) == experiment.model_dump(mode="json")
        trained = read_training(place.training)
        evaluated = read_evaluation(place.evaluation)
        model_id = read_bundle(place.bundle).model_id
    except InputError:
        return False
    return same and trained.cohort_id == cohort_id and evaluated.model_id == model_id


def _figures(
    name: str,
    trained: TrainResult,
    evaluated: EvaluateResult,
    place: RunFolder,
    films: npt.NDArray[np.uint8],
) -> ModelFigures:
    bundle = read_bundle(place.bundle)
    return ModelFigures(
        name=name,
        title=zoo.entry(name).title,
        method=trained.method,
        start=_start_words(trained),
        accuracy=evaluated.evaluation.accuracy,
        macro_auroc=evaluated.evaluation.macro_auroc,
        training_seconds=trained.feature_seconds + sum(one.seconds for one in trained.models),
        parameters=trained.parameters,
        bundle_bytes=sum(path.stat().st_size for path in place.bundle.iterdir()),
        films_per_s=scoring_speed(
            bundle.network(), films, place.training.with_name(".training.work") / "engines"
        ),
        report=place.report,
    )


def _pairs(experiment: Experiment, places: Mapping[str, RunFolder]) -> tuple[ModelPair, ...]:
    columns = ["uri", "group_id", "label", "probability"]
    said = {
        name: pq.read_table(place.evaluation / "predictions", columns=columns).sort_by("uri")
        for name, place in places.items()
    }
    first_place = next(iter(places.values()))
    classes = read_evaluation(first_place.evaluation).evaluation.classes
    rows = next(iter(said.values()))
    labels = np.asarray(
        [classes.index(name) for name in rows["label"].to_pylist()], dtype=np.int64
    )
    chances = {
        name: np.asarray(table["probability"].to_pylist(), dtype=np.float64)
        for name, table in said.items()
    }
    names = list(combinations(said, 2))
    compared = [
        paired_difference(
            labels,
            chances[first],
            chances[second],
            np.asarray(rows["group_id"].to_pylist()),
            classes,
            replicates=experiment.evaluate.replicates,
            confidence=experiment.evaluate.confidence,
            seed=experiment.seed,
        )
        for first, second in names
    ]
    adjusted = holm([one.p_value for one in compared])
    return tuple(
        ModelPair(first=first, second=second, compared=one, adjusted_p=p)
        for (first, second), one, p in zip(names, compared, adjusted, strict=True)
    )


def _some_films(images: Path, size: int) -> npt.NDArray[np.uint8]:
    """The first films of a table, uint8 (n, size, size)."""
    for part in parts_of(images):
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(limits.SPEED_FILMS, columns=["pixels"]):
                if batch.num_rows:
                    return pixels_of(pa.Table.from_batches([batch]), size)
    raise InputError(f"{images}: holds no image: run `pulmospark ingest`")


def _write(result: Comparison) -> None:
    files.write_json(result.folder / _RESULT, result.model_dump(mode="json"))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        ["model", "method", "start", "accuracy", "accuracy_low", "accuracy_high", "macro_auroc",
         "training_seconds", "parameters", "bundle_bytes", "films_per_s", "frontier"]
    )  # fmt: skip
    for one in result.models:
        table.writerow(
            [one.name, one.method, one.start, one.accuracy.value, one.accuracy.low,
             one.accuracy.high, one.macro_auroc.value, one.training_seconds, one.parameters,
             one.bundle_bytes, one.films_per_s, one.frontier]
        )  # fmt: skip
    files.write_text(result.folder / _TABLE, out.getvalue())
    write_comparison(result, result.folder / _PAGE)
