"""Fine-tuned MobileNetV2 against its own frozen features, on the same folds of patients."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from benchmarks.common import (
    MASTER,
    ROOT,
    Options,
    Report,
    data_folder,
    goal,
    scratch,
    weights_folder,
)
from pulmospark.config.experiment import Experiment, read_experiment
from pulmospark.config.source import SourceSettings
from pulmospark.experiment import pipeline
from pulmospark.experiment.compare.compare import compare
from pulmospark.experiment.demo import demo_experiment
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.phantoms.write import write_phantoms
from pulmospark.report.comparison_content import Comparison, ModelFigures
from pulmospark.spark.session import spark_session

EXAMPLE = ROOT / "examples" / "covid_pneumonia_normal.toml"
"""the experiment, and how the network is fine-tuned"""


def settings(data: Path, out: Path) -> Experiment:
    """The example's experiment on the public data sets.

    Args:
        data: folder of the data sets.
        out: folder under which the run's folder is made.
    """
    told = read_experiment(EXAMPLE)
    sources = tuple(SourceSettings(path=data / source.path.name) for source in told.sources)
    train = told.train.model_copy(update={"weights_path": weights_folder()})
    return told.model_copy(
        update={"name": "finetune", "out": out, "sources": sources, "train": train}
    )


def small_settings(model: str, out: Path, patients: int) -> Experiment:
    """The same two arms on a few phantoms: one split, one epoch, the last layer alone.

    Args:
        model: name of the network.
        out: folder under which the run's folder is made.
        patients: made-up ones.
    """
    drawn = demo_experiment(
        out, write_phantoms(out / "images", seed=5, patients=patients), processes=1
    )
    network = drawn.train.network.model_copy(update={"epochs": 1, "trainable": "head"})
    train = drawn.train.model_copy(
        update={
            "model": model,
            "method": "features",
            "weights": "imagenet",
            "weights_path": weights_folder(),
            "network": network,
        }
    )
    evaluate = drawn.evaluate.model_copy(update={"replicates": 100})
    return drawn.model_copy(update={"name": "finetune", "train": train, "evaluate": evaluate})


def measure(options: Options) -> Report:
    """Accuracy of both arms, and their difference over the same patients."""
    with scratch(options) as folder:
        if options.small:
            experiment = small_settings(options.models[0], folder, options.patients)
        elif (data := data_folder(options)) is not None:
            experiment = settings(data, folder)
        else:
            raise FileNotFoundError("finetune needs --data, a folder of public data sets")
        run = RunFolder(folder / experiment.name)
        arms = [f"{experiment.train.model}:{method}" for method in ("network", "features")]
        with spark_session(MASTER) as spark:
            pipeline.run_ingest(experiment, run, spark, quiet=options.small)
            pipeline.run_split(experiment, run, spark)
            told = compare(experiment, run, arms, spark, quiet=options.small)
        shutil.copyfile(run.comparison / "comparison.html", options.out / "finetune.html")
    return _report(told, experiment)


def _report(told: Comparison, experiment: Experiment) -> Report:
    (pair,) = told.pairs
    tuned, frozen = (_of(told, name) for name in (pair.first, pair.second))
    gain = pair.compared.difference
    low, high = _points(gain.low), _points(gain.high)
    better = gain.low is not None and gain.low > 0
    figures: dict[str, Any] = {
        "images": told.images,
        "patients": told.groups,
        "folds": told.folds,
        "difference_points": _points(gain.value),
        "interval_points": [low, high],
        "confidence": told.confidence,
        "p_value": pair.compared.p_value,
        "right_only_when_fine_tuned": pair.compared.only_first,
        "right_only_when_frozen": pair.compared.only_second,
        "better": better,
        "settings": experiment.train.model_dump(mode="json"),
        "comparison": told.model_dump(mode="json"),
    }
    return Report(
        name="finetune",
        title=f"Fine-tuned against frozen, {told.images} images of {told.groups} patients, "
        f"{told.folds or 'no'} folds",
        head=("what", *(one.title for one in (tuned, frozen))),
        rows=[
            ("accuracy", *(_interval(one) for one in (tuned, frozen))),
            ("macro AUROC", *(f"{one.macro_auroc.value:.4f}" for one in (tuned, frozen))),
            ("training, s", *(f"{one.training_seconds:.0f}" for one in (tuned, frozen))),
            (
                "right on it alone, images",
                str(pair.compared.only_first),
                str(pair.compared.only_second),
            ),
        ],
        notes=[
            f"difference {_points(gain.value):+.2f} points, {told.confidence:.0%} interval over "
            f"the same patients {low} to {high}, p {pair.compared.p_value:.4f}",
            goal("fine-tuned better: the interval of the difference is above 0", better),
            "the page: finetune.html",
        ],
        figures=figures,
    )


def _of(told: Comparison, name: str) -> ModelFigures:
    return next(one for one in told.models if one.name == name)


def _interval(one: ModelFigures) -> str:
    told = one.accuracy
    return f"{told.value:.4f} ({told.low:.4f} to {told.high:.4f})"


def _points(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 3)
