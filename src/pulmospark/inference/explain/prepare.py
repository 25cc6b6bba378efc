"""Prepares what heat maps are computed from, and opens it on a worker."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.inference.engine.openvino_compile import IR_FILE
from pulmospark.inference.engine.spec import TENSORS_FILE, EngineSpec
from pulmospark.inference.explain.maps import MapSource, MethodChoice
from pulmospark.inference.explain.openvino_maps import OpenVinoMaps, has_class_maps
from pulmospark.store.folders import folder_here

if TYPE_CHECKING:  # it imports torch
    from pulmospark.models.bundle.bundle import Bundle


@dataclass(frozen=True)
class MapSpec:
    """What a worker needs to compute heat maps; plain values.

    Attributes:
        engine: OpenVINO's, for exact class activation maps, or PyTorch's.
        method: as requested; of an OpenVINO engine always ``cam``.
    """

    engine: EngineSpec
    method: MethodChoice

    @property
    def scores(self) -> bool:
        """Whether the engine is the one that scores, so that one run gives logits and maps."""
        return self.engine.kind == "openvino"

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {"engine": self.engine.model_dump(mode="json"), "method": self.method}


def prepare_maps(
    bundle: Bundle, engine: EngineSpec, folder: Path, method: MethodChoice = "auto"
) -> MapSpec:
    """Choose what computes a bundle's heat maps.

    An OpenVINO engine whose network has an exact class activation map gives it at almost no cost.
    All other maps need gradients, and so PyTorch.

    Args:
        bundle: the model.
        engine: that scores.
        folder: for the files of another engine; readable by every worker.
        method: see :data:`pulmospark.inference.explain.maps.MethodChoice`.

    Raises:
        UsageError: the network does not support the method.
        BundleError: the bundle's tensors have changed.
        PlatformError: no space, or no right to write there.
    """
    if engine.kind == "openvino" and method in {"auto", "cam"}:
        if has_class_maps(engine):
            return MapSpec(engine, "cam")
        if method == "cam":
            raise UsageError(
                f"{bundle.config.model}: has no exact class activation map: choose auto"
            )
    # Inside: it imports torch, which a class activation map does not need.
    from pulmospark.inference.engine.build import prepare_engine  # noqa: PLC0415

    size = bundle.config.input_size
    if engine.kind == "openvino":
        engine = prepare_engine(bundle.network(), folder, outputs="both", size=size, kind="torch")
    return MapSpec(engine, method)


def open_maps(spec: MapSpec, threads: int = 1) -> MapSource:
    """As :func:`new_maps`, once per process: later calls with the same spec return the same."""
    with _OPENING:
        return _opened(spec, threads)


_OPENING = threading.Lock()


@functools.lru_cache(maxsize=2)
def _opened(spec: MapSpec, threads: int) -> MapSource:
    return new_maps(spec, threads)


def new_maps(spec: MapSpec, threads: int = 1) -> MapSource:
    """Open what computes heat maps.

    Args:
        spec: from :func:`prepare_maps`.
        threads: of one run in OpenVINO.

    Raises:
        UsageError: the network does not support the method.
        PlatformError: the engine's files are not found on this machine, or its library is
            missing.
    """
    engine = spec.engine.model_copy(update={"folder": str(folder_here(spec.engine.folder))})
    file = Path(engine.folder) / (IR_FILE if spec.scores else TENSORS_FILE)
    if not file.is_file():
        raise PlatformError(
            f"{file}: model file not found on this worker: keep the work folder on storage that "
            "every worker mounts"
        )
    if engine.kind == "openvino":
        return OpenVinoMaps(engine, threads)
    # Inside: importing torch takes a second and hundreds of MB.
    from safetensors.torch import load_file  # noqa: PLC0415

    from pulmospark.inference.explain.torch_maps import TorchMaps  # noqa: PLC0415
    from pulmospark.models.zoo.networks import build  # noqa: PLC0415

    network = build(engine.model, engine.classes, mean=engine.mean, std=engine.std)
    network.load_state_dict(load_file(Path(engine.folder) / TENSORS_FILE), strict=True)
    return TorchMaps(network.eval(), engine.size, spec.method)
