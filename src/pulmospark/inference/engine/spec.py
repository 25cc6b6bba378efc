"""What an engine is: its specification, its contract, and the pixels that it takes."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Protocol, cast

import numpy as np
from pydantic import Field

from pulmospark.config.base import Settings
from pulmospark.config.inference import Precision
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels, Singles
from pulmospark.core.errors import UsageError
from pulmospark.core.hashing import value_id

Outputs = Literal["logits", "features", "both"]
Kind = Literal["openvino", "torch"]
TENSORS_FILE = "model.safetensors"
SPEC_FILE = "engine.json"
"""written last into an engine's folder"""


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
