"""The engine that runs a network: OpenVINO on CPUs, PyTorch where that will not do.

This is the worker's side. It imports no torch unless a torch engine is opened, so that a
Spark worker is ready in a fraction of a second. The driver's side is
:mod:`pulmospark.scoring.prepare`.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol, cast

import numpy as np
from pydantic import Field

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels, Singles
from pulmospark.core.content import value_id
from pulmospark.core.errors import EnvironmentProblem, UsageError
from pulmospark.core.machine import cache_folder
from pulmospark.core.scoring_settings import Precision
from pulmospark.core.settings_base import Settings
from pulmospark.scoring.openvino_compile import IR_FILE, compile_network

Outputs = Literal["logits", "features", "both"]
Kind = Literal["openvino", "torch"]

TENSORS_FILE = "model.safetensors"
SPEC_FILE = "engine.json"
"""written last into an engine's folder"""

_ENGINES_MAX = 4


class EngineOutput(NamedTuple):
    """What one run gives; ``None`` where it was not asked for."""

    logits: Singles | None
    """(n, classes), before the temperature"""
    features: Singles | None
    """(n, width)"""


class Engine(Protocol):
    """Runs a network on standard images. Calls from several threads follow one another."""

    def run(self, pixels: Pixels) -> EngineOutput:
        """Run any number of images, none included.

        Args:
            pixels: (n, size, size) grey levels.

        Raises:
            UsageError: ``pixels`` has another shape or type.
        """
        ...


class EngineSpec(Settings):
    """What a worker needs to open an engine; JSON both ways, and a key of the cache."""

    kind: Kind
    folder: str
    """folder with the engine's files; every worker has to see it"""
    engine_id: str
    """SHA-256 of what the answers depend on: network, outputs, precision, library"""
    model: str
    """name in the zoo"""
    outputs: Outputs
    size: int
    """side of the images, pixels"""
    classes: int
    width: int
    """of the deep features"""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batch: Annotated[int, Field(ge=1, le=limits.ENGINE_BATCH_MAX)] = limits.ENGINE_BATCH
    """images run at once"""
    precision: Precision = "fp32"
    """of the network's arithmetic"""

    def in_precision(self, precision: Precision, batch: int) -> EngineSpec:
        """The same files run in another precision of floating point, so many images at once."""
        new_id = value_id([self.engine_id, precision])
        update = {"precision": precision, "batch": batch, "engine_id": new_id}
        return self.model_copy(update=update)

    def names(self) -> tuple[str, ...]:
        """The outputs in the order in which the network gives them."""
        return ("logits", "features") if self.outputs == "both" else (self.outputs,)


def open_engine(spec: EngineSpec, threads: int = 1) -> Engine:
    """Open an engine, once for each process: later calls with the same spec get the same one.

    Args:
        spec: as :func:`pulmospark.scoring.prepare.prepare_engine` made it.
        threads: of one run.

    Raises:
        EnvironmentProblem: the engine's files are not to be seen from here, or its library
            is missing.
        UsageError: ``threads`` is below 1.
    """
    with _OPENING:
        return _opened(spec, threads)


_OPENING = threading.Lock()


@functools.lru_cache(maxsize=_ENGINES_MAX)
def _opened(spec: EngineSpec, threads: int) -> Engine:
    return new_engine(spec, threads)


def new_engine(spec: EngineSpec, threads: int = 1) -> Engine:
    """Open an engine that nothing else holds, so that its memory goes when it is dropped.

    Args and errors are those of :func:`open_engine`.
    """
    if threads < 1:
        raise UsageError(f"threads is {threads}: an engine needs one or more")
    file = Path(spec.folder) / (IR_FILE if spec.kind == "openvino" else TENSORS_FILE)
    if not file.is_file():
        raise EnvironmentProblem(
            f"{file}: the network is not to be seen from this worker: keep the work folder on "
            "storage that every worker mounts"
        )
    if spec.kind == "openvino":
        return OpenVinoEngine(spec, threads)
    # Inside: torch takes a second and hundreds of MB, which an OpenVINO worker is spared.
    from pulmospark.scoring.torch_engine import TorchEngine  # noqa: PLC0415

    return TorchEngine(spec, threads)


class OpenVinoEngine:
    """Runs OpenVINO's form of a network on the CPU.

    Args:
        spec: of the network.
        threads: of one run.

    Raises:
        EnvironmentProblem: openvino is not installed, or cannot read the network.
    """

    def __init__(self, spec: EngineSpec, threads: int = 1) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        shape = (spec.batch, spec.size, spec.size)
        try:
            self._compiled = compile_network(Path(spec.folder), shape, spec.precision, threads)
        except (ImportError, RuntimeError) as error:
            raise EnvironmentProblem(
                f"{spec.folder}: OpenVINO cannot open the network ({type(error).__name__}): "
                f"delete the folder so that it is made again, and {cache_folder() / 'engines'}, "
                "where it may come from",
                detail=str(error),
            ) from error
        self._request = self._compiled.create_infer_request()

    @property
    def precision(self) -> str:
        """The type that is calculated in."""
        return str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    def run(self, pixels: Pixels) -> EngineOutput:
        """See :class:`Engine`."""
        spec = self._spec
        pixels = check_pixels(pixels, spec.size)
        found = empty_outputs(spec, len(pixels))
        with self._lock:
            for start in range(0, len(pixels), spec.batch):
                batch = pixels[start : start + spec.batch]
                if (count := len(batch)) < spec.batch:
                    batch = np.concatenate(
                        [batch, np.zeros((spec.batch - count, *batch.shape[1:]), np.uint8)]
                    )
                # Neither copied in nor out: `batch` lives until the run ends, and what it
                # gave is written to `found` before the next.
                self._request.infer([batch], share_inputs=True, share_outputs=True)
                for place, name in enumerate(spec.names()):
                    answer = self._request.get_output_tensor(place).data
                    found[name][start : start + count] = answer[:count]
        return EngineOutput(found.get("logits"), found.get("features"))


def check_pixels(pixels: Pixels, size: int) -> Pixels:
    """Images as an engine takes them: (n, size, size) uint8 in one block.

    Raises:
        UsageError: another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (size, size):
        raise UsageError(
            f"pixels are {pixels.dtype} {pixels.shape}: the engine was made for uint8 "
            f"(n, {size}, {size})"
        )
    return np.ascontiguousarray(pixels)


def empty_outputs(spec: EngineSpec, count: int) -> dict[str, Singles]:
    """Room for the answers on ``count`` images, by name of the output."""
    widths = {"logits": spec.classes, "features": spec.width}
    return {
        name: cast("Singles", np.empty((count, widths[name]), np.float32)) for name in spec.names()
    }
