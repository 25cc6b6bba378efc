"""Networks from params, and engines for the workers from networks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.ml.image_reader import ImageReader, Invalid, Kind
from pulmospark.ml.params import HasNetwork
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.models.bundle.files import MANIFEST
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network

Fit = Literal["stretch", "pad", "crop"]

# CrossValidator fits in several threads: torch has one generator and one number of threads.
_BUILDING = threading.Lock()


@dataclass(frozen=True)
class Start:
    """A network to start from, and the preprocessing of its images.

    Attributes:
        network: in evaluation mode.
        settings: of the standard image; from the bundle if the weights are a bundle's, except for
            params that are set.
        weights: file of the weights, or id of their bundle; ``None``: random.
    """

    network: Network
    settings: IngestSettings
    weights: str | None

    @property
    def size(self) -> int:
        """Side of the standard image, pixels."""
        return self.settings.size

    def reader(self, kind: Kind, invalid: Invalid, *, any_body_part: bool = False) -> ImageReader:
        """How workers read images for this network."""
        settings = self.settings
        if any_body_part:
            settings = settings.model_copy(update={"body_parts": "any"})
        return ImageReader(kind, settings, invalid)


def start_of(params: HasNetwork, classes: int, seed: int) -> Start:
    """Build the network that params describe.

    Args:
        params: modelName, weights, imageSize and resizeMode.
        classes: of the head, randomly initialised unless a bundle's has as many.
        seed: of the random initialisation.

    Raises:
        UsageError: the network is unknown, does not accept this image size, or is not the
            bundle's.
        PlatformError: the weights are not available.
        InputError: the weights, or the bundle, are damaged.
    """
    weights = params.getWeights()
    resize = cast(Fit, params.getResizeMode())
    with _BUILDING:
        if weights not in ("imagenet", "none") and (Path(weights) / MANIFEST).is_file():
            start = _from_bundle(params, Path(weights), classes, seed)
        else:
            name = params.getModelName()
            network = _build(name, classes, seed)
            source = None if weights in ("imagenet", "none") else Path(weights)
            file = load_imagenet(network, source=source).file if weights != "none" else None
            settings = IngestSettings(size=networks.entry(name).input_size, fit=resize)
            start = Start(network.eval(), settings, file)
    size = params.getImageSize() or start.size
    if not limits.STANDARD_SIZE_MIN <= size <= limits.STANDARD_SIZE_MAX:
        raise UsageError(
            f"imageSize: {size}: must be {limits.STANDARD_SIZE_MIN} to {limits.STANDARD_SIZE_MAX}"
        )
    networks.check_size(start.network.name, size)
    settings = start.settings.model_copy(update={"size": size})
    return Start(start.network, settings, start.weights)


def feature_engine(
    network: Network, work: Path, size: int, batch: int | None = None
) -> EngineSpec:
    """The engine for a network's deep features; built once per backbone.

    Args:
        network: whose features.
        work: folder that every worker sees.
        size: side of the images, pixels.
        batch: images per batch; ``None``: ``limits.ENGINE_BATCH``.
    """
    with _BUILDING:
        return prepare_engine(
            network,
            work / "engines",
            outputs="features",
            size=size,
            batch=batch or limits.ENGINE_BATCH,
        )


def _from_bundle(params: HasNetwork, folder: Path, classes: int, seed: int) -> Start:
    bundle = read_bundle(folder)
    config = bundle.config
    if params.isSet(params.modelName) and params.getModelName() != config.model:
        raise UsageError(
            f"modelName is {params.getModelName()!r}, but the bundle {folder} contains "
            f"{config.model!r}: omit modelName, or specify another bundle"
        )
    network = bundle.network()
    if classes != network.classes:
        pretrained = network.backbone.state_dict()
        network = _build(config.model, classes, seed, mean=config.mean, std=config.std)
        network.backbone.load_state_dict(pretrained)
    settings = config.ingest
    if params.isSet(params.resizeMode):
        fit = cast(Fit, params.getResizeMode())
        settings = settings.model_copy(update={"fit": fit})
    return Start(network.eval(), settings, f"bundle {bundle.model_id}")


def _build(
    name: str,
    classes: int,
    seed: int,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return networks.build(name, classes, mean=mean, std=std)
