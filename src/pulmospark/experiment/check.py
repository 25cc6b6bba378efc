"""Check an experiment before its first stage, so that it fails now rather than hours later.

Reads no image, and imports neither Spark nor torch unless a library's network is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pulmospark.audit.skip import check_skip
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.train import TrainSettings
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.core.pseudonyms import read_salt
from pulmospark.core.suggestions import did_you_mean
from pulmospark.layouts.sources import open_source
from pulmospark.models.bundle.bundle import bundle_folder
from pulmospark.models.bundle.files import MANIFEST
from pulmospark.models.weights.download import fetch
from pulmospark.models.weights.local_files import cache_folder, find_local, nowhere
from pulmospark.models.zoo.catalogue import check_size, entry
from pulmospark.models.zoo.entry import ZooEntry
from pulmospark.tracking.extra import check_tracking


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        sources: one line each: its name, folder and layout.
        weights: what the network starts from.
        stages: in their order.
    """

    sources: tuple[str, ...]
    weights: str
    stages: tuple[str, ...]


def check_experiment(experiment: Experiment) -> Plan:
    """Check all that can be checked without reading an image, and return the plan.

    Weights that are not on this machine are downloaded to the cache, as in training.

    Raises:
        UsageError: a setting is wrong, or does not go with another.
        InputError: a folder is missing, or has no known layout; a bundle or a salt is damaged.
        PlatformError: weights, a library or the network are missing.
    """
    check_tracking(experiment.tracking)
    check_skip(experiment.audit)
    check_classes(experiment.evaluate, tuple(experiment.classes))
    sources = tuple(_checked_sources(experiment))
    if experiment.ingest.salt_path is not None:
        read_salt(experiment.ingest.salt_path)
    weights = _checked_training(experiment)
    stages = ["ingest", "split"]
    stages += ["expand"] if experiment.expand is not None else []
    stages += ["train", "evaluate"]
    stages += ["audit"] if experiment.audit.enabled else []
    return Plan(sources, weights, (*stages, "report"))


def check_classes(settings: EvaluateSettings, classes: Sequence[str]) -> None:
    """Check the classes that the evaluation settings name, once the classes are known.

    Raises:
        UsageError: a name is not a class.
    """
    for name in ("positive_class", "negative_class"):
        value = getattr(settings, name)
        if classes and value is not None and value not in classes:
            raise UsageError(
                f"evaluate.{name} is {value!r}{did_you_mean(value, classes)}: choose one of "
                f"{', '.join(classes)}"
            )


def _checked_sources(experiment: Experiment) -> list[str]:
    lines = []
    for source in experiment.sources:
        opened = open_source(source)
        layout = opened.place.layout
        layout.check_options(opened.options)
        name = opened.name or opened.place.folder.name
        lines.append(f"{name}: {opened.shown}, {layout.name}")
    return lines


def _checked_training(experiment: Experiment) -> str:
    """Check the network and its start; return what it starts from."""
    train = experiment.train
    try:
        known = entry(train.model)
        check_size(train.model, experiment.ingest.size)
    except UsageError as error:
        raise UsageError(f"train.model: {error.message}") from error
    _check_trainable(known, train)
    expanded = train.expanded_path
    if expanded is not None and not expanded.is_dir():
        raise InputError(f"train.expanded_path: {expanded}: no such folder: check the path")
    if train.start is not None:
        if not (bundle_folder(train.start) / MANIFEST).is_file():
            raise InputError(
                f"train.start: {train.start}: no such bundle: give the folder of a bundle"
            )
        return f"bundle {train.start}"
    if train.weights == "none":
        return "random weights"
    if train.method == "features" and known.added:
        raise UsageError(
            f"train.model: {train.model}: its added layers have no ImageNet weights, so its "
            "features would be random: use train.method = 'network', or train.start"
        )
    return f"ImageNet weights {_weights(known, train)}"


def _check_trainable(known: ZooEntry, train: TrainSettings) -> None:
    """Check the number of stages to train, where they are known without building the network."""
    trainable = train.network.trainable
    if isinstance(trainable, int) and known.stages and trainable > len(known.stages):
        raise UsageError(
            f"train.network.trainable is {trainable}, but {train.model} has "
            f'{len(known.stages)} stages: give fewer, or "all"'
        )


def _weights(known: ZooEntry, train: TrainSettings) -> str:
    """Path of the weights, downloaded if the hub has them and this machine does not."""
    try:
        path = find_local(known, train.weights_path)
    except (UsageError, PlatformError) as error:
        name = "train.weights_path" if train.weights_path is not None else "train.weights"
        raise type(error)(f"{name}: {error.message}") from error
    if path is not None:
        return str(path)
    url = next((file.url for file in known.weights if file.url), None)
    if url is None:
        raise nowhere(known)
    try:
        return str(fetch(url, cache_folder()))
    except PlatformError as error:
        raise nowhere(known, f", and {error.message}; or") from error
