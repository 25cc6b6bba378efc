"""Prepares a network for the workers; the driver's counterpart of
:mod:`pulmospark.inference.engine.open_engine`."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from pulmospark.core import limits
from pulmospark.core.errors import UsageError
from pulmospark.core.files import whole_folder, write_json
from pulmospark.core.hashing import value_id
from pulmospark.inference.engine.available import has_gpu, library_version
from pulmospark.inference.engine.openvino_compile import IR_FILE, save_openvino
from pulmospark.inference.engine.openvino_import import import_openvino
from pulmospark.inference.engine.spec import SPEC_FILE, TENSORS_FILE, EngineSpec, Kind, Outputs
from pulmospark.models.zoo.network import FeatureExtractor, Network
from pulmospark.models.zoo.networks import check_size

_LOG = logging.getLogger(__name__)


def prepare_engine(
    network: Network,
    folder: Path,
    *,
    outputs: Outputs = "logits",
    size: int,
    kind: Kind | None = None,
    batch: int = limits.ENGINE_BATCH,
) -> EngineSpec:
    """Write a network in the form that workers run; once for each network.

    Args:
        network: from ``zoo.build``; its mode and device stay unchanged.
        folder: parent of the engine's folder, which is named by content and created atomically.
        outputs: which outputs a run returns.
        size: side of the images, pixels.
        kind: ``None``: torch where this machine has a GPU or OpenVINO cannot convert the
            network, else OpenVINO.
        batch: images run at once on a CPU.

    Returns:
        What :func:`~pulmospark.inference.engine.open_engine.open_engine` takes.

    Raises:
        UsageError: ``size`` is too small for the network, or OpenVINO was requested and cannot
            convert it.
        PlatformError: no space, or no right to write there.
    """
    check_size(network.name, size)
    draft = EngineSpec(
        kind=kind or ("torch" if has_gpu() else "openvino"),
        folder="",
        engine_id="",
        model=network.name,
        outputs=outputs,
        size=size,
        classes=network.classes,
        width=network.width,
        mean=network.channel_mean,
        std=network.channel_std,
        batch=batch,
    )
    try:
        return _prepare(network, folder, draft)
    except _NotConvertedError as error:
        if kind is not None:
            raise UsageError(
                f"{network.name}: OpenVINO cannot convert it ({error!s:.120}): choose the torch "
                "engine"
            ) from error
        return _prepare(network, folder, draft.model_copy(update={"kind": "torch"}))


class _NotConvertedError(Exception):
    """OpenVINO is not installed, or does not support a layer of the network."""


def _prepare(network: Network, folder: Path, draft: EngineSpec) -> EngineSpec:
    engine_id = value_id(
        {
            **draft.model_dump(mode="json", exclude={"folder", "engine_id", "batch", "precision"}),
            "library": library_version(draft.kind),
            "tensors": _tensors_id(network, head=draft.outputs != "features"),
        }
    )
    target = folder.resolve() / engine_id
    spec = draft.model_copy(update={"folder": str(target), "engine_id": engine_id})
    is_new = not (target / SPEC_FILE).is_file()
    _LOG.info(
        "engine %s for %s, %d x %d pixels, batches of %d%s",
        spec.kind,
        spec.model,
        spec.size,
        spec.size,
        spec.batch,
        "" if is_new else " (prepared by an earlier call)",
    )
    if is_new:
        with whole_folder(target) as aside:
            if spec.kind == "openvino":
                _convert(network, aside / IR_FILE, spec)
            else:
                tensors = {k: v.cpu().contiguous() for k, v in network.state_dict().items()}
                save_file(tensors, aside / TENSORS_FILE)
            write_json(aside / SPEC_FILE, spec.model_dump(mode="json"))
    return spec


def _tensors_id(network: Network, *, head: bool) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        if key.startswith("head.") and not head:
            continue  # features do not depend on the head
        array = value.detach().cpu().contiguous().numpy()
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Tracing runs in Python: more threads only wait, and took five times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _convert(network: Network, path: Path, spec: EngineSpec) -> None:
    module: torch.nn.Module = network
    if spec.outputs != "logits":
        module = FeatureExtractor(network, logits=spec.outputs == "both")
    training, device = network.training, network.mean.device
    try:
        model = to_openvino(module.cpu().eval(), spec.size)
    # Each unsupported kind of layer raises a different exception.
    except Exception as error:
        raise _NotConvertedError(" ".join(str(error).split())) from error
    finally:
        network.to(device).train(training)
    save_openvino(model, path)


def to_openvino(module: torch.nn.Module, size: int) -> Any:
    """OpenVINO's form of a module, for any number of uint8 images.

    Calls the frontend directly: ``openvino.convert_model`` takes three times as long for the same,
    and reports its use to a server if the user's code imported OpenVINO first.
    """
    openvino = import_openvino()
    # Inside: available only after the import above.
    from openvino.frontend import FrontEndManager  # noqa: PLC0415
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder  # noqa: PLC0415

    example = torch.zeros((2, size, size), dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad(), _one_torch_thread():
        # The tracer warns about shape checks, which hold for every image of this size.
        warnings.simplefilter("ignore")
        # Traced once: the check traces again to find layers that draw random numbers, of which a
        # network that only predicts has none.
        decoder = TorchScriptPythonDecoder(
            module, example_input=example, trace_kwargs={"check_trace": False}
        )
    frontend = FrontEndManager().load_by_framework("pytorch")
    model = frontend.convert(frontend.load(decoder))
    pixels = model.inputs[0].get_node()
    pixels.set_element_type(openvino.Type.u8)
    pixels.set_partial_shape(openvino.PartialShape([-1, size, size]))
    model.validate_nodes_and_infer_types()
    return model
