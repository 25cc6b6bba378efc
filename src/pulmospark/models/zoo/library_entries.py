"""Entries of all other classifiers of torchvision and timm."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import torch
from torch import nn

from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.core.extras import how_to_install
from pulmospark.models.zoo.backbones import last_linear, without
from pulmospark.models.zoo.entry import Recipe, WeightsFile, ZooEntry, hub_file
from pulmospark.models.zoo.torchvision_entries import DENSENET_RENAMED
from pulmospark.models.zoo.torchvision_import import import_torchvision_models

_LEAST = 32
"""pixels: smaller sides leave an empty map in most networks"""

# Some have no batch norm, and some are transformers.
_FROM_SCRATCH = Recipe(3e-4)

# With branches used only in training; their weights expect inputs in -1 to 1 (see InceptionV3).
_WITH_SIDES = ("googlenet", "inception_v3")


@functools.lru_cache(maxsize=64)
def library_entry(library: str, name: str) -> ZooEntry:
    """The entry of a library's classifier, whose last linear layer the head replaces.

    Args:
        library: ``torchvision`` or ``timm``.
        name: in the library.

    Raises:
        UsageError: the library has no such classifier, or it does not end in a linear layer.
        PlatformError: the library is not installed.
    """
    return _of_torchvision(name) if library == "torchvision" else _of_timm(name)


def _of_torchvision(name: str) -> ZooEntry:
    models = import_torchvision_models()
    _check_known("torchvision", name, models.list_models(module=models))
    options: dict[str, Any] = {}
    if name in _WITH_SIDES:
        options = {"aux_logits": False, "init_weights": True}

    def make() -> nn.Module:
        network: nn.Module = models.get_model(name, weights=None, **options)
        return network

    weights = models.get_model_weights(name).DEFAULT
    shown = weights.transforms()
    size = int(shown.crop_size[0])
    with torch.device("meta"):  # shapes alone: nothing is drawn or held
        network = make()
    fixed = getattr(network, "image_size", None) or (size if name.startswith("maxvit") else None)
    half = (0.5, 0.5, 0.5)
    licence = weights.meta.get("license") or "BSD-3-Clause (torchvision)"
    return _entry(
        f"torchvision:{name}",
        make,
        network,
        title=f"{name} of torchvision",
        input_size=size,
        min_size=max(int(weights.meta.get("min_size", (1, 1))[0]), _LEAST),
        max_size=fixed,
        mean=half if name in _WITH_SIDES else tuple(shown.mean),
        std=half if name in _WITH_SIDES else tuple(shown.std),
        source=f"torchvision, {weights.meta.get('recipe', 'torchvision.models')}",
        published=int(weights.meta["num_params"]),
        weights=(hub_file(weights.url, licence),),
        renamed=DENSENET_RENAMED if name.startswith("densenet") else (),
        sides=("aux", "AuxLogits.") if name in _WITH_SIDES else (),
    )


def _of_timm(name: str) -> ZooEntry:
    timm = _import_timm(name)
    if not timm.is_model(name):
        _check_known("timm", name, timm.list_models())

    def make() -> nn.Module:
        network: nn.Module = timm.create_model(name, pretrained=False)
        return network

    network = make()
    config: dict[str, Any] = dict(getattr(network, "pretrained_cfg", {}) or {})
    size = int(config.get("input_size", (3, 224, 224))[-1])
    fixed = size if config.get("fixed_input_size") else None
    home = config.get("hf_hub_id")
    title = str(home).rpartition("/")[2] if home else name
    file = WeightsFile(
        f"{title}.safetensors",
        home=f"https://huggingface.co/{home}" if home else None,
        licence=config.get("license"),
    )
    return _entry(
        f"timm:{name}",
        make,
        network,
        title=f"{name} of timm",
        input_size=size,
        min_size=fixed or int(config.get("min_input_size", (3, _LEAST, _LEAST))[-1]),
        max_size=fixed,
        mean=tuple(config.get("mean", (0.5, 0.5, 0.5))),
        std=tuple(config.get("std", (0.5, 0.5, 0.5))),
        source="Wightman, PyTorch Image Models (timm)",
        published=_count(network),
        weights=(file,),
        renamed=(),
        sides=(),
    )


def _import_timm(name: str) -> ModuleType:
    import_torchvision_models()  # timm imports it
    try:
        import timm  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise PlatformError(
            f"timm:{name}: timm is not installed: {how_to_install('timm')}"
        ) from error
    module: ModuleType = timm
    return module


def _entry(
    name: str,
    make: Callable[[], nn.Module],
    network: nn.Module,
    *,
    published: int,
    sides: tuple[str, ...],
    **facts: Any,
) -> ZooEntry:
    last = last_linear(network)
    if last is None:
        raise UsageError(f"{name}: has no linear layer that the head could replace")
    place, linear = last

    def build() -> nn.Module:
        backbone = make()
        without(backbone, place, nn.Identity())
        return backbone

    without(network, place, nn.Identity())
    _check_output(name, network, linear.in_features, facts["input_size"])
    backbone_parameters = _count(network)
    return ZooEntry(
        name=name,
        builder=build,
        width=linear.in_features,
        dropout=0.0,  # the network's dropout stays in the backbone
        backbone_parameters=backbone_parameters,
        outputs=linear.out_features,
        # Negative if the published layer has no bias.
        side_parameters=published
        - backbone_parameters
        - linear.out_features * (linear.in_features + 1),
        replaced=(f"{place}.", *sides),
        from_scratch=_FROM_SCRATCH,
        **facts,
    )


@torch.inference_mode()
def _check_output(name: str, network: nn.Module, width: int, size: int) -> None:
    device = next(network.parameters()).device
    output = network.eval()(torch.zeros(1, 3, size, size, device=device))
    if not isinstance(output, torch.Tensor) or tuple(output.shape) != (1, width):
        raise UsageError(
            f"{name}: its last linear layer is not its output, so it is not supported"
        )


def _check_known(library: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or names[:3]
        raise UsageError(
            f"{library}:{name}: not a classifier of {library}; similar: {', '.join(near)}"
        )


def _count(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())
