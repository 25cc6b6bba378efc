"""Metadata of networks, without building them; imports no torch."""

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
    """A weights file.

    Attributes:
        name: of a safetensors file with torchvision's key names.
        sha256: of its content, if known.
        url: the same weights on the hub, as a ``.pth`` file whose name ends in the first eight
            digits of its SHA-256.
        home: page for manual download, if not on the hub.
        licence: of the weights.
    """

    name: str
    sha256: str | None = None
    url: str | None = None
    home: str | None = None
    licence: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Possible names of the file: converted, and as on the hub."""
        return (self.name, *((PurePosixPath(self.url).name,) if self.url else ()))


def hub_file(url: str, licence: str) -> WeightsFile:
    """A file of torchvision's hub; the converted file keeps the name with its hash."""
    name = PurePosixPath(url).with_suffix(".safetensors").name
    return WeightsFile(name, url=url, licence=licence)


@dataclass(frozen=True)
class Recipe:
    """Default training settings of a network, for AdamW.

    Attributes:
        learning_rate: peak rate of the last layer.
        stage_factor: learning rate of a stage relative to the next one.
        batch_size: images per step over all processes.
    """

    learning_rate: float
    stage_factor: float = 1.0
    batch_size: int = 32


CAREFUL = Recipe(1e-4, stage_factor=0.7)
"""for fine-tuning unknown networks and transformers"""
PLAIN = Recipe(1e-3)
"""for training from scratch with batch norm"""


@dataclass(frozen=True)
class FlatMap:
    """Alternative deep features of a network: its flattened last convolutional map.

    Attributes:
        name: of the variant, in settings and bundles.
        builder: builds the backbone, (n, channels, h, w) -> (n, width).
        width: channels x height x width of the map at the entry's input size.
        backbone_parameters: of that backbone.
        left_out: prefixes of published keys that the variant does not use.
    """

    name: str
    builder: Builder
    width: int
    backbone_parameters: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZooEntry:
    """Metadata of a network.

    Attributes:
        name: in settings and bundles.
        title: human-readable name.
        builder: builds the backbone, (n, channels, h, w) -> (n, width), with torchvision's
            key names and random weights.
        width: of the deep features.
        input_size: default side of the image, pixels.
        min_size: smallest supported side, pixels.
        mean: of each input channel, in [0, 1].
        std: standard deviation of each channel, in [0, 1].
        dropout: before the head, in training.
        source: where it was published.
        backbone_parameters: number of trainable parameters, without the head.
        outputs: of the published output layer, which :attr:`parameters` counts.
        side_parameters: of published branches used only in training and omitted here;
            :attr:`parameters` counts them, as the publisher does.
        stages: prefixes of the backbone's parameters, by stage from the input; empty: derived
            from its modules.
        max_size: largest supported side, pixels; ``None``: any.
        classes: required number of classes; ``None``: any.
        single_logit: one output for two classes, as with a sigmoid.
        weights: files of ImageNet weights, in search order.
        replaced: prefixes of published keys that are not loaded: the output layer,
            which the head of :class:`~pulmospark.models.zoo.network.Network` replaces, and side
            branches.
        renamed: pattern and replacement for keys of published files, for ``re.sub``.
        added: prefixes of the backbone's keys without published weights.
        frozen_stages: number of stages from the input that the paper freezes.
        guessed: details that the paper does not specify, with our choice.
        flat_map: the variant whose features are the last map, flattened.
        fine_tuning: recipe for training from given weights.
        from_scratch: recipe for training from random weights.
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
        """Number of parameters with the published output layer: the published count."""
        return self.backbone_parameters + self.outputs * (self.width + 1) + self.side_parameters

    @property
    def weights_licence(self) -> str | None:
        """Licences of the ImageNet weights; ``None`` if there are none."""
        licences = dict.fromkeys(file.licence for file in self.weights if file.licence)
        return " or ".join(licences) or None


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
