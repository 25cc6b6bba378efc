"""Exact class activation maps as a further output of an OpenVINO engine.

The map's layer and the head's weights are in the engine's graph, so neither PyTorch nor a gradient
is needed, and a run costs a matrix product more than one without maps.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from pulmospark.core.arrays import Ints, Pixels, Singles
from pulmospark.core.errors import PlatformError
from pulmospark.inference.engine.openvino_compile import IR_FILE, compile_network
from pulmospark.inference.engine.openvino_import import import_openvino
from pulmospark.inference.engine.spec import EngineSpec, check_pixels
from pulmospark.inference.explain.maps import MapOutput, Method, chosen, contrast_weights

_SAME_ORDER = frozenset({"Reshape", "Squeeze", "Flatten", "Tile", "FakeQuantize", "Convert"})
"""operations that change no order of the values between the last map and the head"""
_MOST = 40
"""operations looked at between the logits and the map"""


class NotLinearError(Exception):
    """The network's head is not linear on its last map."""


class OpenVinoMaps:
    """An OpenVINO engine with class activation maps.

    Args:
        spec: of the engine, with logits among its outputs.
        threads: of one run.

    Raises:
        NotLinearError: there is no exact class activation map.
        PlatformError: openvino is not installed, or cannot read the network.
    """

    method: Method = "cam"

    def __init__(self, spec: EngineSpec, threads: int = 1) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        shape = (spec.batch, spec.size, spec.size)
        try:
            compiled = compile_network(
                Path(spec.folder), shape, spec.precision, threads, extend=add_class_maps
            )
        except (ImportError, RuntimeError) as error:
            raise PlatformError(
                f"{spec.folder}: OpenVINO cannot open the network ({type(error).__name__}): "
                "delete the folder, which is then rebuilt",
                detail=str(error),
            ) from error
        self._request = compiled.create_infer_request()

    def run(self, pixels: Pixels, places: Ints | None = None) -> MapOutput:
        """See :class:`pulmospark.inference.explain.maps.MapSource`."""
        outputs = self._outputs(check_pixels(pixels, self._spec.size))
        logits, class_maps = outputs[self._spec.names().index("logits")], outputs[-1]
        features = outputs[1] if self._spec.outputs == "both" else None
        places = chosen(logits, places)
        weights = contrast_weights(places, self._spec.classes)
        if class_maps.shape[1] < self._spec.classes:  # one logit, against 0 for the first class
            weights = weights[:, 1:]
        raw = np.einsum("nk,nkhw->nhw", weights, class_maps)
        return MapOutput(logits, features, raw, places)

    def _outputs(self, pixels: Pixels) -> list[Singles]:
        """The engine's outputs for any number of images, the maps last."""
        batch, batches = self._spec.batch, []
        with self._lock:
            # No image is run as a batch of black ones, which gives the shapes.
            for start in range(0, max(len(pixels), 1), batch):
                images = np.zeros((batch, *pixels.shape[1:]), np.uint8)
                count = len(part := pixels[start : start + batch])
                images[:count] = part
                self._request.infer([images], share_inputs=True, share_outputs=True)
                tensors = self._request.output_tensors
                batches.append([tensor.data[:count].astype(np.float32) for tensor in tensors])
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def has_class_maps(spec: EngineSpec) -> bool:
    """Whether an OpenVINO engine has exact class activation maps; reads its graph alone."""
    model = import_openvino().Core().read_model(Path(spec.folder) / IR_FILE)
    try:
        _last_map(model)
    except NotLinearError:
        return False
    return True


def add_class_maps(model: Any) -> None:
    """Add an output (n, logits, rows, columns): what each field adds to each logit.

    Its sum over rows and columns is the logit without its bias.

    Args:
        model: OpenVINO's form of a network whose first output are logits; changed in place.

    Raises:
        NotLinearError: the head is not linear on the last map.
    """
    import_openvino()
    # Inside: available only after the import above.
    from openvino import opset13 as ops  # noqa: PLC0415

    weights, source, pooled = _last_map(model)
    channels, rows, columns = (side.get_length() for side in list(source.get_partial_shape())[1:])
    logits = int(weights.get_partial_shape()[0].get_length())
    shape = np.array([0, logits, rows, columns], np.int64)
    if pooled:
        flat = ops.reshape(source, np.array([0, 0, rows * columns], np.int64), special_zero=True)
        product = ops.matmul(weights, flat, transpose_a=False, transpose_b=False)
        mean = ops.multiply(product, np.float32(1.0 / (rows * columns)))
        maps = ops.reshape(mean, shape, special_zero=True)
    else:
        by_field = ops.reshape(
            weights, np.array([1, logits, channels, rows * columns], np.int64), special_zero=False
        )
        flat = ops.reshape(
            source, np.array([0, 1, channels, rows * columns], np.int64), special_zero=True
        )
        product = ops.reduce_sum(ops.multiply(by_field, flat), np.array([2]), keep_dims=False)
        maps = ops.reshape(product, shape, special_zero=True)
    model.add_outputs(maps.output(0))
    model.validate_nodes_and_infer_types()


def _last_map(model: Any) -> tuple[Any, Any, bool]:
    """The head's weights (logits, width), the last map (n, channels, rows, columns), and whether
    the map is averaged before the head, else flattened."""
    head = model.output(0).get_node()
    for _ in range(_MOST):
        if head.get_type_name() == "MatMul":
            break
        head = _computed_input(head)
    else:
        raise NotLinearError("no linear layer before the logits")
    if not head.get_attributes().get("transpose_b"):
        raise NotLinearError("the head is not a linear layer")
    weights, source, pooled = head.input_value(1), head.input_value(0), False
    for _ in range(_MOST):
        if _fields(source) > 1:
            return weights, source, pooled
        node = source.get_node()
        kind = node.get_type_name()
        if kind in {"AdaptiveAvgPool", "ReduceMean"}:
            if not _averages_fields(node):
                break
            pooled, source = True, node.input_value(0)
        elif kind in _SAME_ORDER:
            source = node.input_value(0)
        else:
            break
    raise NotLinearError("the head is not linear on the last map")


def _averages_fields(node: Any) -> bool:
    """Whether a node averages the whole of a map with rows and columns behind the channels."""
    if _fields(node.input_value(0)) <= 1:
        return False
    if node.get_type_name() == "AdaptiveAvgPool":
        return _fields(node.output(0)) == 1
    axes = node.input_value(1).get_node()
    if axes.get_type_name() != "Constant":
        return False
    return sorted(int(axis) % 4 for axis in np.ravel(axes.data)) == [2, 3]


def _fields(output: Any) -> int:
    """Rows times columns of an output (n, channels, rows, columns); 0 where it is no such map."""
    shape = list(output.get_partial_shape())
    if len(shape) != 4 or any(side.is_dynamic for side in shape[1:]):
        return 0
    return int(shape[2].get_length() * shape[3].get_length())


def _computed_input(node: Any) -> Any:
    """The one input of a node that depends on the images."""
    inputs = [node.input_value(place).get_node() for place in range(node.get_input_size())]
    computed = [node for node in inputs if node.get_type_name() not in {"Constant", "Convert"}]
    if node.get_type_name() == "Concat" and len(inputs) == 2:
        return inputs[1]  # a single logit behind zeros
    if len(computed) != 1 or node.get_type_name() not in {"Result", "Add", *_SAME_ORDER}:
        raise NotLinearError("the logits are not those of a linear layer")
    return computed[0]
