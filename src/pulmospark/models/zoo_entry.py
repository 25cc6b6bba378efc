"""What is known of a network, without the network: imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_OUTPUTS = 1000

Builder = Callable[[], "nn.Module"]
Stages = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class WeightsFile:
    """A file that weights may come in.

    Attributes:
        name: of a safetensors file with torchvision's key names.
        sha256: of its content where it is known.
        url: where the hub has the same as a ``.pth`` file, whose name ends in the first eight
            digits of its SHA-256.
        home: page to fetch it from by hand, where the hub has none.
        licence: of the weights.
    """

    name: str
    sha256: str | None = None
    url: str | None = None
    home: str | None = None
    licence: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names that the file may have in a folder: converted, and as the hub has it."""
        return (self.name, *((PurePosixPath(self.url).name,) if self.url else ()))


def hub_file(url: str, licence: str) -> WeightsFile:
    """A file of torchvision's hub; converted it keeps its name, and so its hash."""
    name = PurePosixPath(url).with_suffix(".safetensors").name
    return WeightsFile(name, url=url, licence=licence)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained where the settings leave it open, with AdamW.

    Attributes:
        learning_rate: the highest, that of the last layer.
        stage_factor: learning rate of a stage as a share of that of the stage after it.
        batch_size: films a step, over all processes together.
    """

    learning_rate: float
    stage_factor: float = 1.0
    batch_size: int = 32


CAREFUL = Recipe(1e-4, stage_factor=0.7)
"""for fine-tuning a network of which nothing is known; transformers ask for it, too"""
PLAIN = Recipe(1e-3)
"""for training from scratch with batch norm"""


@dataclass(frozen=True)
class FlatMap:
    """The other deep features of a network: its last convolutional map, flattened.

    Attributes:
        name: of the variant, in settings and bundles.
        builder: makes the backbone, (n, channels, h, w) -> (n, width).
        width: channels x height x width of the map at the entry's input size.
        backbone_parameters: of that backbone.
        left_out: prefixes of published keys that the variant has no use for.
    """

    name: str
    builder: Builder
    width: int
    backbone_parameters: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZooEntry:
    """What is known of a network.

    Attributes:
        name: in settings and bundles.
        title: for people.
        builder: makes the backbone, (n, channels, h, w) -> (n, width), with torchvision's
            key names and random weights.
        width: of the deep features.
        input_size: side of the image it is meant for, pixels.
        min_size: smallest side that it takes, pixels.
        mean: of each channel, in [0, 1]; as many as the backbone takes channels.
        std: standard deviation of each channel, in [0, 1].
        dropout: before the head, in training.
        source: where it was published.
        backbone_parameters: numbers that are learnt, without the head.
        outputs: of the published output layer, which :attr:`parameters` counts.
        side_parameters: of published branches that are used in their training alone and are
            left out here; :attr:`parameters` counts them, as the publisher does.
        stages: prefixes of the backbone's parameters, stage by stage from the input; empty:
            found from its modules.
        max_size: largest side that it takes, pixels; ``None``: any.
        classes: number of classes that it is made for; ``None``: any.
        single_logit: one output for two classes, as with a sigmoid.
        weights: files of ImageNet weights, in the order they are looked for.
        replaced: prefixes of the published keys that have no place here: the output layer,
            which the head of :class:`~pulmospark.models.network.Network` replaces, and side
            branches.
        renamed: pattern and replacement for keys of published files, as ``re.sub`` takes them.
        added: prefixes of the backbone's keys that no published weights have.
        frozen_stages: stages from the input that the paper does not train.
        guessed: what the paper leaves open, and what was chosen.
        flat_map: the variant whose features are the last map, flattened.
        fine_tuning: how it is trained from weights that it is given.
        from_scratch: how it is trained from random ones.
    """

    name: str
    title: str
    builder: Builder
    width: int
    source: str
    backbone_parameters: int
    input_size: int = 224
    min_size: int = 32
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    dropout: float = 0.0
    outputs: int = IMAGENET_OUTPUTS
    side_parameters: int = 0
    stages: Stages = ()
    max_size: int | None = None
    classes: int | None = None
    single_logit: bool = False
    weights: tuple[WeightsFile, ...] = ()
    replaced: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    added: tuple[str, ...] = ()
    frozen_stages: int = 0
    guessed: tuple[str, ...] = ()
    flat_map: FlatMap | None = None
    fine_tuning: Recipe = CAREFUL
    from_scratch: Recipe = PLAIN

    @property
    def parameters(self) -> int:
        """Numbers that are learnt, with the published output layer: the published count."""
        return self.backbone_parameters + self.outputs * (self.width + 1) + self.side_parameters

    @property
    def weights_licence(self) -> str | None:
        """Licences of the ImageNet weights; ``None``: there are none."""
        told = dict.fromkeys(file.licence for file in self.weights if file.licence)
        return " or ".join(told) or None


def flat_entry(entry: ZooEntry) -> ZooEntry | None:
    """The variant of a network whose features are its last map, flattened."""
    if (flat := entry.flat_map) is None:
        return None
    kept = (
        tuple(name for name in stage if not f"{name}.".startswith(flat.left_out))
        for stage in entry.stages
    )
    return replace(
        entry,
        name=flat.name,
        title=f"{entry.title}, last map flattened",
        builder=flat.builder,
        width=flat.width,
        min_size=entry.input_size,
        max_size=entry.input_size,  # the width follows from the size
        dropout=0.0,
        backbone_parameters=flat.backbone_parameters,
        outputs=2,
        side_parameters=0,
        stages=tuple(stage for stage in kept if stage),
        replaced=(*entry.replaced, *flat.left_out),
        flat_map=None,
    )
