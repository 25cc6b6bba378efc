"""Heat maps of a network in PyTorch: class activation, HiResCAM and Grad-CAM.

The gradient stops at that layer, so only the network's last part is differentiated.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pulmospark.core import limits
from pulmospark.core.arrays import Ints, Pixels, Singles
from pulmospark.core.errors import UsageError
from pulmospark.inference.engine.spec import check_pixels
from pulmospark.inference.explain.attention import AttentionRecorder, has_attention
from pulmospark.inference.explain.maps import (
    MapOutput,
    Method,
    MethodChoice,
    chosen,
    contrast_weights,
)
from pulmospark.models.zoo.network import Network


@dataclass(frozen=True)
class MapLayer:
    """The layer whose output is the last map of a network.

    Attributes:
        name: dotted name in the backbone; empty: the backbone itself.
        channels_last: the map is (n, rows, columns, channels).
        linear: the head is linear on the map: averaged or flattened, with or without a ReLU.
    """

    name: str
    channels_last: bool
    linear: bool


class TorchMaps:
    """A network in PyTorch with heat maps.

    Args:
        network: in evaluation mode; its parameters stop requiring gradients. Its attention layers,
            if those are used, stop using fused kernels.
        size: side of the images, pixels.
        method: see :data:`pulmospark.inference.explain.maps.MethodChoice`.

    Raises:
        UsageError: the network does not support the method.
    """

    method: Method

    def __init__(self, network: Network, size: int, method: MethodChoice = "auto") -> None:
        self._network, self._size = network.requires_grad_(requires_grad=False), size
        self._lock = threading.Lock()
        self.layer = find_layer(network, size, exact=method in {"auto", "cam"})
        attention = has_attention(network.backbone, network, size)
        self.method = _resolved(method, network.name, self.layer, attention=attention)

    def run(self, pixels: Pixels, places: Ints | None = None) -> MapOutput:
        """See :class:`pulmospark.inference.explain.maps.MapSource`."""
        pixels = check_pixels(pixels, self._size)
        step = limits.EXPLAIN_BATCH
        starts = range(0, max(len(pixels), 1), step)
        with self._lock:
            batches = [
                self._batch(
                    pixels[start : start + step],
                    None if places is None else places[start : start + step],
                )
                for start in starts
            ]
        logits, features, raw, classes = zip(*batches, strict=True)
        return MapOutput(
            np.concatenate(logits),
            np.concatenate(features),
            np.concatenate(raw),
            np.concatenate(classes),
        )

    def _batch(
        self, pixels: Pixels, places: Ints | None
    ) -> tuple[Singles, Singles, Singles, Ints]:
        network = self._network
        images = torch.tensor(pixels, device=network.mean.device)
        recorder = self._recorder()
        with torch.enable_grad(), recorder.recording():
            features = network.features(images)
            logits = network.logits(features)
            scores = logits.detach().cpu().numpy()
            places = chosen(scores, places)
            weights = torch.from_numpy(contrast_weights(places, network.classes))
            evidence = (logits * weights.to(logits.device)).sum()
            raw = recorder.maps(evidence)
        return scores, features.detach().cpu().numpy(), raw.cpu().numpy(), places

    def _recorder(self) -> LayerRecorder | AttentionRecorder:
        if self.method == "attention":
            return AttentionRecorder(self._network.backbone)
        assert self.layer is not None
        return LayerRecorder(
            self._network.backbone, self.layer, by_value=self.method != "grad_cam"
        )


class LayerRecorder:
    """Records a layer's map in a forward pass, and weights it by its gradient.

    Args:
        backbone: that has the layer.
        layer: of the map.
        by_value: weight each value by its own gradient (HiResCAM), which is the exact class
            activation map where the head is linear on the map; else each channel by its mean
            gradient (Grad-CAM).
    """

    def __init__(self, backbone: nn.Module, layer: MapLayer, *, by_value: bool) -> None:
        self._module, self._layer = backbone.get_submodule(layer.name), layer
        self._by_value = by_value
        self._map: torch.Tensor | None = None

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record within; the layer's output becomes the start of the gradient."""

        def keep(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
            self._map = output.detach().requires_grad_()
            return self._map.clone()  # what follows may change it in place

        hook = self._module.register_forward_hook(keep)
        try:
            yield
        finally:
            hook.remove()

    def maps(self, evidence: torch.Tensor) -> torch.Tensor:
        """(n, rows, columns): the map's channels, weighted and added up."""
        assert self._map is not None
        (gradient,) = torch.autograd.grad(evidence, self._map)
        channels, fields = (3, (1, 2)) if self._layer.channels_last else (1, (2, 3))
        if not self._by_value:
            gradient = gradient.mean(dim=fields, keepdim=True)
        return (gradient * self._map.detach()).sum(dim=channels)


@torch.no_grad()
def find_layer(network: Network, size: int, *, exact: bool = True) -> MapLayer | None:
    """The layer of a network whose map is explained; ``None``: it has no map.

    The last map if the head is linear on it; else the last one with at least
    ``limits.HEAT_MAP_SIDE_MIN`` rows and columns, or failing that the last of several fields. The
    output of adaptive pooling counts as none: what it averages is finer.

    Args:
        network: in evaluation mode.
        size: side of the images, pixels.
        exact: look for a map on which the head is linear.
    """
    shapes: dict[str, tuple[int, int]] = {}
    last: dict[str, torch.Tensor] = {}  # of all maps only the last is kept

    def keep(name: str, module: nn.Module, output: object) -> None:
        if not isinstance(output, torch.Tensor) or output.ndim != 4:
            return
        fields = _fields(output, network.width)
        if min(fields) > 1 and not isinstance(module, nn.AdaptiveAvgPool2d):
            shapes.pop(name, None)
            shapes[name] = fields
            last.clear()
            last[name] = output

    hooks = [
        module.register_forward_hook(
            lambda module, _, output, name=name: keep(name, module, output)
        )
        for name, module in network.backbone.named_modules()
    ]
    noise = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, size, size), generator=noise, dtype=torch.uint8)
    try:
        features = network.features(image.to(network.mean.device))
    finally:
        for hook in hooks:
            hook.remove()
    for name, output in last.items():
        if exact and _is_linear(output, features):
            return MapLayer(name, _channels_last(output, network.width), linear=True)
    names = list(shapes)
    fine = [name for name in names if min(shapes[name]) >= limits.HEAT_MAP_SIDE_MIN] or names
    return MapLayer(fine[-1], channels_last=False, linear=False) if fine else None


def _fields(output: torch.Tensor, width: int) -> tuple[int, int]:
    rows, columns = output.shape[1:3] if _channels_last(output, width) else output.shape[2:]
    return int(rows), int(columns)


def _channels_last(output: torch.Tensor, width: int) -> bool:
    return output.shape[3] == width != output.shape[1]


def _is_linear(last: torch.Tensor, features: torch.Tensor) -> bool:
    """Whether deep features are a map's averages, or all its values."""
    fields = (1, 2) if _channels_last(last, features.shape[1]) else (2, 3)
    for values in (last, torch.relu(last)):
        for pooled in (values.mean(dim=fields), values.flatten(1)):
            if pooled.shape == features.shape and torch.allclose(pooled, features, rtol=1e-4):
                return True
    return False


def _resolved(
    method: MethodChoice, name: str, layer: MapLayer | None, *, attention: bool
) -> Method:
    """The method used, given what the network has."""
    linear = layer is not None and layer.linear
    usable: dict[Method, bool] = {
        "cam": linear,
        "attention": attention,
        "hires_cam": layer is not None,
        "grad_cam": layer is not None,
    }
    supported = [known for known, works in usable.items() if works]
    if not supported:
        raise UsageError(
            f"{name}: has no convolution map and no attention over the whole image, so there is "
            "no heat map: choose another network"
        )
    if method == "auto":
        return supported[0]
    if method not in supported:
        raise UsageError(
            f"{name}: does not support the heat map method {method}: choose auto or "
            f"{' or '.join(supported)}"
        )
    return method
