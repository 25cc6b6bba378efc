"""The specification, interface and input checks of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Protocol, cast

import numpy as np
from pydantic import Field

from pulmospark.config.base import Settings
from pulmospark.config.inference import Precision
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels, Singles
from pulmospark.core.errors import UsageError
from pulmospark.core.hashing import value_id

if TYPE_CHECKING:
    from pulmospark.chunks.carried import Carry

Outputs = Literal["logits", "features", "both"]
Kind = Literal["openvino", "torch"]
TENSORS_FILE = "model.safetensors"
SPEC_FILE = "engine.json"
"""written last into an engine's folder"""


class EngineOutput(NamedTuple):
    """Outputs of one run; ``None`` where not requested."""

    logits: Singles | None
    """(n, classes), before the temperature"""
    features: Singles | None
    """(n, width)"""


class Engine(Protocol):
    """Runs a network on standard images. Several threads may call it."""

    def run(self, pixels: Pixels) -> EngineOutput:
        """Run any number of images, including none.

        Args:
            pixels: (n, size, size) grey levels.

        Raises:
            UsageError: ``pixels`` has another shape or type.
        """
        ...


class EngineSpec(Settings):
    """What a worker needs to open an engine; serialises to JSON, and is a cache key."""

    kind: Kind
    folder: str
    """folder with the engine's files, readable by every worker, or its address in a store"""
    engine_id: str
    """SHA-256 of what the outputs depend on: network, outputs, precision, library"""
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
        """The same engine in another floating-point precision, with this batch size."""
        new_id = value_id([self.engine_id, precision])
        update = {"precision": precision, "batch": batch, "engine_id": new_id}
        return self.model_copy(update=update)

    def carried(self, carry: Carry) -> EngineSpec:
        """The same engine, with its files where workers find them."""
        return self.model_copy(update={"folder": carry(self.folder)})

    def names(self) -> tuple[str, ...]:
        """The outputs in the network's order."""
        return ("logits", "features") if self.outputs == "both" else (self.outputs,)


def check_pixels(pixels: Pixels, size: int) -> Pixels:
    """Images as an engine takes them: contiguous uint8 (n, size, size).

    Raises:
        UsageError: another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (size, size):
        raise UsageError(
            f"pixels are {pixels.dtype} {pixels.shape}: the engine expects uint8 "
            f"(n, {size}, {size})"
        )
    return np.ascontiguousarray(pixels)


def empty_outputs(spec: EngineSpec, count: int) -> dict[str, Singles]:
    """Output name -> uninitialised array of (count, width) for that many images."""
    widths = {"logits": spec.classes, "features": spec.width}
    return {
        name: cast("Singles", np.empty((count, widths[name]), np.float32)) for name in spec.names()
    }
