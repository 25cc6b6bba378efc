"""The graph of an export: from grey levels to probabilities, written with its metadata."""

from __future__ import annotations

import copy
import importlib
import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

import pulmospark
from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.core.extras import how_to_install
from pulmospark.inference.engine.build import to_openvino
from pulmospark.inference.engine.openvino_compile import save_openvino
from pulmospark.models.bundle.bundle import Bundle
from pulmospark.models.zoo.network import Network

PIXELS, PROBABILITIES = "pixels", "probabilities"
"""names of the input and of the output"""

META = "pulmospark"
"""what the metadata's keys begin with (ONNX: ``pulmospark.classes``) or stand under (OpenVINO)"""

_OPSET = 17


class ExportGraph(nn.Module):
    """A bundle's network with its temperature and softmax.

    Args:
        network: shared, not copied.
        temperature: logits are divided by it.
    """

    def __init__(self, network: Network, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, size, size) grey levels, uint8 -> (n, classes) probabilities, float32."""
        return torch.softmax(self.network(pixels) / self.temperature, dim=1)


class FixedAverage(nn.Module):
    """Adaptive average pooling for maps of a fixed size, as products with two matrices.

    ONNX has no adaptive pooling, and torch exports it only if the output's side divides the map's.

    Args:
        before: height and width of the map.
        after: height and width of the output.
    """

    rows: torch.Tensor
    columns: torch.Tensor

    def __init__(self, before: tuple[int, int], after: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("rows", _averages(before[0], after[0]))
        self.register_buffer("columns", _averages(before[1], after[1]).T.contiguous())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(n, channels, *before) -> (n, channels, *after)."""
        return self.rows @ maps @ self.columns


def _averages(before: int, after: int) -> torch.Tensor:
    """(after, before): row i averages from floor(i b / a) up to ceil((i + 1) b / a)."""
    matrix = torch.zeros(after, before)
    for place in range(after):
        first, end = place * before // after, -(-(place + 1) * before // after)
        matrix[place, first:end] = 1.0 / (end - first)
    return matrix


def metadata_of(bundle: Bundle) -> dict[str, str]:
    """An exported file's metadata; lists and numbers as JSON."""
    config = bundle.config
    points = [point.model_dump(mode="json") for point in config.operating_points]
    return {
        "statement": pulmospark.NOT_A_MEDICAL_DEVICE,
        "classes": json.dumps(config.classes, ensure_ascii=False),
        "input": f"{PIXELS}: uint8 (images, {config.input_size}, {config.input_size}), grey, "
        "0 black to 255 white, standard images as written by pulmospark ingest",
        "output": f"{PROBABILITIES}: float32 (images, classes), after the temperature",
        "input_size": str(config.input_size),
        "fit": config.fit,
        "equalise": json.dumps(config.equalise),
        "crop": config.crop,
        "ct_window": config.ct_window,
        "body_parts": config.body_parts,
        "phantoms": str(config.phantoms).lower(),
        "temperature": json.dumps(config.temperature),
        "operating_points": json.dumps(points, ensure_ascii=False),
        "model": config.model,
        "model_id": bundle.model_id,
        "version": pulmospark.__version__,
    }


def write_openvino(graph: ExportGraph, size: int, path: Path, metadata: dict[str, str]) -> None:
    """Write OpenVINO's form: ``path``, an ``.xml``, and its weights next to it, in float32.

    Raises:
        UsageError: OpenVINO does not support a layer of the network.
        PlatformError: no space, or no right to write there.
    """
    try:
        model = to_openvino(graph, size)
    # Each unsupported kind of layer raises a different exception.
    except Exception as error:
        raise _cannot(graph, "OpenVINO", error) from error
    model.inputs[0].get_tensor().set_names({PIXELS})
    model.outputs[0].get_tensor().set_names({PROBABILITIES})
    for key, value in metadata.items():
        model.set_rt_info(value, [META, key])
    save_openvino(model, path)


def write_onnx(graph: ExportGraph, size: int, path: Path, metadata: dict[str, str]) -> None:
    """Write an ONNX file.

    Raises:
        UsageError: ONNX does not support a layer of the network.
        PlatformError: the package onnx is not installed.
    """
    onnx = _import_onnx()
    plain = copy.deepcopy(graph)
    _fix_averages(plain, size)
    axes = {PIXELS: {0: "images"}, PROBABILITIES: {0: "images"}}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The exporter is deprecated, but its successor needs two more packages.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                plain,
                (torch.zeros((2, size, size), dtype=torch.uint8),),
                path,
                dynamo=False,
                opset_version=_OPSET,
                input_names=[PIXELS],
                output_names=[PROBABILITIES],
                dynamic_axes=axes,
            )
    except Exception as error:
        raise _cannot(graph, "ONNX", error) from error
    model = onnx.load_model(path)
    onnx.helper.set_model_props(model, {f"{META}.{key}": text for key, text in metadata.items()})
    model.doc_string = metadata["statement"]
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def _import_onnx() -> ModuleType:
    try:
        # By name: onnx is an extra.
        onnx = importlib.import_module("onnx")
        for part in ("helper", "checker"):
            importlib.import_module(f"onnx.{part}")
    except ImportError as error:
        raise PlatformError(
            f"--to onnx: the package onnx is not installed: {how_to_install('export')}, or "
            "use --to openvino"
        ) from error
    return onnx


def _cannot(graph: ExportGraph, form: str, error: Exception) -> UsageError:
    reason = " ".join(str(error).split())
    return UsageError(
        f"{graph.network.name}: {form} does not support it ({reason:.120}): "
        "choose the other format (--to)"
    )


@torch.inference_mode()
def _fix_averages(graph: ExportGraph, size: int) -> None:
    """Replace adaptive poolings that torch cannot export by :class:`FixedAverage`."""
    sizes: dict[nn.Module, tuple[tuple[int, int], tuple[int, int]]] = {}

    def record_sizes(module: nn.Module, inputs: Any, output: Any) -> None:
        sizes[module] = (tuple(inputs[0].shape[-2:]), tuple(output.shape[-2:]))

    hooks = [
        module.register_forward_hook(record_sizes)
        for module in graph.modules()
        if isinstance(module, nn.AdaptiveAvgPool2d)
    ]
    graph(torch.zeros((1, size, size), dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    for parent in list(graph.modules()):
        for name, child in list(parent.named_children()):
            before, after = sizes.get(child, ((1, 1), (1, 1)))
            if any(b % a for b, a in zip(before, after, strict=True)):
                setattr(parent, name, FixedAverage(before, after))
