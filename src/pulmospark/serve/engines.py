"""The engine of a worker: batch scoring's, and one for the image that is left over.

Batch scoring's engine runs a fixed number of images at once, and a single one costs as much as
they do. A second engine runs one image. It is used only if it gives the same numbers to the last
bit, which is tried out when it is opened.
"""

from __future__ import annotations

import numpy as np

from pulmospark.core.arrays import Pixels, Singles
from pulmospark.inference.engine.open_engine import new_engine
from pulmospark.inference.engine.spec import Engine, EngineOutput, EngineSpec

_TRIAL_IMAGES = 3


class WorkerEngine:
    """Runs a network on any number of images, none of them padded.

    Args:
        spec: of batch scoring's engine.

    Raises:
        PlatformError: its files are missing or damaged.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._batch = spec.batch
        self._many = new_engine(spec)
        self._one: Engine | None = None
        if spec.kind == "openvino" and spec.batch > 1:
            single = new_engine(spec.model_copy(update={"batch": 1}))
            if _same(self._many, single, spec.size):
                self._one = single

    @property
    def runs_single_images(self) -> bool:
        """Whether an image that is left over costs as much as one."""
        return self._one is not None

    def run(self, pixels: Pixels) -> EngineOutput:
        """See :class:`pulmospark.inference.engine.spec.Engine`."""
        whole = len(pixels) - len(pixels) % self._batch
        if self._one is None or whole == len(pixels):
            return self._many.run(pixels)
        rest = self._one.run(pixels[whole:])
        return _joined(self._many.run(pixels[:whole]), rest) if whole else rest


def _same(many: Engine, single: Engine, size: int) -> bool:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (_TRIAL_IMAGES, size, size), np.uint8)
    return all(
        np.array_equal(left, right)
        for left, right in zip(many.run(images), single.run(images), strict=True)
        if left is not None and right is not None
    )


def _joined(first: EngineOutput, second: EngineOutput) -> EngineOutput:
    def both(left: Singles | None, right: Singles | None) -> Singles | None:
        return None if left is None or right is None else np.concatenate([left, right])

    return EngineOutput(both(first.logits, second.logits), both(first.features, second.features))
