"""Arms of a comparison: a network, and the way it is trained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from pulmospark.config.experiment import Experiment
from pulmospark.config.train import Method
from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.models.zoo import networks

_METHODS: tuple[str, ...] = get_args(Method)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class Arm:
    """One of the trainings that are compared.

    Attributes:
        name: as given, ``mobilenet_v2:network``; unique among the arms.
        model: name of the network.
        settings: the experiment with this network, trained this way.
    """

    name: str
    model: str
    settings: Experiment

    @property
    def folder(self) -> str:
        """Name of its folder: network and method, unique among the arms."""
        return f"{_UNSAFE.sub('_', self.model)}-{self.settings.train.method}"

    @property
    def how(self) -> str:
        """How it is trained, in two words: for example ``frozen features``."""
        train = self.settings.train
        if train.method == "features":
            return "frozen features"
        started = train.weights == "imagenet" or train.start is not None
        return "fine-tuned" if started else "from scratch"


def arms_of(experiment: Experiment, names: Sequence[str]) -> tuple[Arm, ...]:
    """Parse the arms of a comparison.

    Args:
        experiment: its settings; its own network does not matter.
        names: ``MODEL`` or ``MODEL:METHOD``, as :func:`parse_arm` takes them.

    Raises:
        UsageError: a network is unknown, cannot be trained that way, or does not accept the
            experiment's image size; an arm is named twice; there are too few or too many; the
            bundle of ``train.start`` holds none of the networks.
        BundleError: that bundle is missing or damaged.
        PlatformError: the library that provides a network is not installed.
    """
    if not 2 <= len(names) <= limits.COMPARED_MODELS_MAX:
        raise UsageError(
            f"--models names {len(names)}: give 2 to {limits.COMPARED_MODELS_MAX}, separated by "
            "commas"
        )
    parsed = [(name, *parse_arm(name)) for name in names]
    for _, model, _ in parsed:
        networks.check_size(model, experiment.ingest.size)
    started = start_of(experiment, [model for _, model, _ in parsed])
    arms = [
        Arm(name, model, settings_for(experiment, model, method, start=model == started))
        for name, model, method in parsed
    ]
    counts = Counter((arm.model, arm.settings.train.method) for arm in arms)
    for (model, method), count in counts.items():
        if count > 1:
            raise UsageError(
                f"--models {','.join(names)}: {model} with method {method} is given {count} "
                f"times: give it once, or with another method, as {model}:{_other(method)}"
            )
    return tuple(arms)


def parse_arm(name: str) -> tuple[str, Method | None]:
    """Network and method of an arm's name; ``None``: it names no method.

    Only a known method after the last colon counts as one: ``timm:resnet18`` is a network,
    ``timm:resnet18:network`` an arm.
    """
    model, colon, last = name.rpartition(":")
    if colon and last in _METHODS:
        return model, cast("Method", last)
    return name, None


def arm_titles(arms: Sequence[Arm]) -> tuple[str, ...]:
    """Titles for display; a network with several arms gets its method appended."""
    counts = Counter(arm.model for arm in arms)
    return tuple(
        f"{networks.entry(arm.model).title} ({arm.how})"
        if counts[arm.model] > 1
        else networks.entry(arm.model).title
        for arm in arms
    )


def start_of(experiment: Experiment, models: Sequence[str]) -> str | None:
    """The network that ``train.start``'s bundle holds; ``None``: there is no bundle.

    Raises:
        UsageError: none of the compared networks is in the bundle.
        BundleError: it is missing or damaged.
    """
    if (start := experiment.train.start) is None:
        return None
    held = read_bundle(start).config.model
    if held not in models:
        raise UsageError(
            f"train.start: {start} holds {held}, which is not compared: add it to --models, or "
            "unset the start (--set train.start=none)"
        )
    return held


def settings_for(
    experiment: Experiment, model: str, method: Method | None = None, *, start: bool = False
) -> Experiment:
    """The experiment with another network, and another method if one is named.

    Without a method it is the experiment's own; but a network without published weights, or
    with layers that have none, is trained end to end, because its features would be random.
    On-the-fly augmentation needs the method ``network``.

    Args:
        experiment: the settings.
        model: the network.
        method: how it is trained.
        start: ``train.start`` is a bundle of this network, and is kept.

    Raises:
        UsageError: the features of such a network are requested.
    """
    known = networks.entry(model)
    featureless = not start and (not known.weights or bool(known.added))
    if method == "features" and featureless:
        what = "it has" if not known.weights else "its added layers have"
        raise UsageError(
            f"{model}:features: {what} no published weights, so its features would be random: "
            f"compare {model}:network"
        )
    chosen = method or ("network" if featureless else experiment.train.method)
    changes: dict[str, object] = {"model": model, "method": chosen}
    if not start:
        changes["start"] = None
        if not known.weights:
            changes["weights"] = "none"
        elif chosen == "features" or known.added or experiment.train.method == "features":
            changes["weights"] = "imagenet"
    if method == "features":
        changes["augment"] = None
    return experiment.model_copy(update={"train": experiment.train.model_copy(update=changes)})


def _other(method: str) -> str:
    return next(name for name in _METHODS if name != method)
