"""Compare: several networks, or training methods, trained and tested on the same images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import SparkSession

from pulmospark.chunks.parquet_files import open_whole
from pulmospark.chunks.parts import parts_of
from pulmospark.config.experiment import Experiment
from pulmospark.core import files, limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.csv_files import write_row
from pulmospark.core.errors import InputError
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.data.ingest.pixels import pixels_of
from pulmospark.evaluation import registry
from pulmospark.experiment import pipeline
from pulmospark.experiment.compare.arm_pairs import pairs_of
from pulmospark.experiment.compare.arm_record import arm_id, is_done, note_done
from pulmospark.experiment.compare.arms import Arm, arm_titles, arms_of
from pulmospark.experiment.evaluate import read_evaluation
from pulmospark.experiment.run_folder import RunFolder, published
from pulmospark.experiment.tracking import track
from pulmospark.inference.engine.speed import scoring_speed
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.report.comparison import write_comparison
from pulmospark.report.comparison_content import Comparison, ModelFigures, with_frontier
from pulmospark.training.results import TrainResult
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
    """Train each arm on the same split, test it on the same images, and compare them.

    Only the network that the experiment's starting bundle holds starts from it, and a note says
    so. An arm compared before with the same settings, images and cohort is not retrained.

    Args:
        experiment: the settings; its own network does not matter.
        run: folder of the run; ingest and split must have finished there.
        models: arms, as :func:`pulmospark.experiment.compare.arms.arms_of` takes them.
        spark: the session.
        quiet: show no progress.

    Raises:
        UsageError: see :func:`pulmospark.experiment.compare.arms.arms_of`.
        BundleError: the bundle of ``train.start`` is missing or damaged.
        InputError: ingest or split is missing, or was done with other settings.
        PlatformError: weights are missing.
        TrainingError: a training process failed.
    """
    with published(run):
        return _compare(experiment, run, models, spark, quiet=quiet)


def _compare(
    experiment: Experiment,
    run: RunFolder,
    models: Sequence[str],
    spark: SparkSession,
    *,
    quiet: bool,
) -> Comparison:
    arms = arms_of(experiment, models)
    parted = read_split(run.cohort)
    places = {
        arm.name: RunFolder(
            run.comparison / arm.folder, shared=run.shared or run.root, mirror=run.mirror
        )
        for arm in arms
    }
    for arm, place in zip(arms, places.values(), strict=True):
        made_from = arm_id(arm.settings, place)
        if not is_done(place, made_from):
            pipeline.run_train(arm.settings, place, spark, quiet=quiet)
            pipeline.run_evaluate(arm.settings, place, quiet=quiet)
            pipeline.write_page(arm.settings, place)
            note_done(place, made_from)
        # Afterwards: if the store refuses, the arm is not retrained.
        track(arm.settings, place)
    images = _some_images(run.tables / "images", experiment.ingest.size)
    figures = tuple(
        _figures(arm, title, places[arm.name], images)
        for arm, title in zip(arms, arm_titles(arms), strict=True)
    )
    evaluation = read_evaluation(places[arms[0].name].evaluation).evaluation
    result = Comparison(
        folder=run.comparison,
        cohort_id=parted.cohort_id,
        classes=evaluation.classes,
        images=evaluation.images,
        groups=evaluation.groups,
        folds=parted.folds,
        confidence=evaluation.confidence,
        phantoms=experiment.phantoms,
        models=with_frontier(figures),
        pairs=pairs_of(
            experiment,
            evaluation.classes,
            {name: place.evaluation / "predictions" for name, place in places.items()},
        ),
        notes=_notes(experiment, arms),
    )
    _write(result)
    return result


def read_comparison(folder: Path) -> Comparison:
    """The result of the last comparison into ``folder``.

    Raises:
        InputError: there is none.
    """
    return Comparison.model_validate(files.read_json(folder / _RESULT))


def _notes(experiment: Experiment, arms: Sequence[Arm]) -> tuple[str, ...]:
    if experiment.train.start is None:
        return ()
    started = [arm.name for arm in arms if arm.settings.train.start is not None]
    others = [arm.name for arm in arms if arm.settings.train.start is None]
    if not others:
        return ()
    return (
        f"{', '.join(started)}: from the bundle {experiment.train.start}; a bundle holds one "
        f"network, so {', '.join(others)} start from ImageNet weights, or from scratch if there "
        "are none, and have seen less data",
    )


def _start_words(trained: TrainResult) -> str:
    if trained.weights is None:
        return "none"
    return "bundle" if str(trained.weights["file"]).startswith("bundle ") else "imagenet"


def _figures(arm: Arm, title: str, place: RunFolder, images: Pixels) -> ModelFigures:
    trained, evaluated = read_training(place.training), read_evaluation(place.evaluation)
    bundle = read_bundle(place.bundle)
    return ModelFigures.model_validate(
        {
            "name": arm.name,
            "model": arm.model,
            "title": title,
            "method": trained.method,
            "how": arm.how,
            "start": _start_words(trained),
            **{
                metric.name: metric.of(evaluated.evaluation)
                for metric in registry.overall("comparison")
            },
            "training_seconds": trained.feature_seconds
            + sum(model.seconds for model in trained.models),
            "parameters": trained.parameters,
            "bundle_bytes": sum(path.stat().st_size for path in place.bundle.iterdir()),
            "images_per_s": scoring_speed(
                bundle.network(), images, place.training.with_name(".training.work") / "engines"
            ),
            "report": place.report,
        }
    )


def _some_images(images: Path, size: int) -> Pixels:
    """The first images of a table, uint8 (n, size, size)."""
    for part in parts_of(images):
        with open_whole(part) as file:
            for batch in file.iter_batches(limits.SPEED_IMAGES, columns=["pixels"]):
                if batch.num_rows:
                    return pixels_of(batch["pixels"], size)
    raise InputError(f"{images}: contains no image: run `pulmospark ingest`")


def _write(result: Comparison) -> None:
    files.write_json(result.folder / _RESULT, result.model_dump(mode="json"))
    out, compared = io.StringIO(), registry.overall("comparison")
    write_row(
        out,
        ["arm", "model", "method", "start",
         *(f"{m.name}{end}" for m in compared for end in ("", "_low", "_high")),
         "training_seconds", "parameters", "bundle_bytes", "images_per_s", "frontier"],
    )  # fmt: skip
    for arm in result.models:
        write_row(
            out,
            [arm.name, arm.model, arm.method, arm.start,
             *(end for m in compared for end in (m.of(arm).value, m.of(arm).low, m.of(arm).high)),
             arm.training_seconds, arm.parameters, arm.bundle_bytes, arm.images_per_s,
             arm.frontier],
        )  # fmt: skip
    files.write_text(result.folder / _TABLE, out.getvalue())
    write_comparison(result, result.folder / _PAGE)
