"""The engine that runs a network in PyTorch: on a GPU, or where OpenVINO cannot run it."""

from __future__ import annotations

import threading
from pathlib import Path

import torch
from safetensors.torch import load_file

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.inference.engine.spec import (
    TENSORS_FILE,
    EngineOutput,
    EngineSpec,
    check_pixels,
    empty_outputs,
)
from pulmospark.models.zoo.network import FeatureExtractor
from pulmospark.models.zoo.networks import build
from pulmospark.spark.gpus import task_gpu

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CPU = torch.device("cpu")


def _gpu() -> int:
    """The GPU assigned to this task by Spark; the first if none is, or the others are hidden."""
    given = task_gpu() or 0
    return given if given < torch.cuda.device_count() else 0


class TorchEngine:
    """Runs a network on the GPU, if there is one.

    In a lower precision, torch's autocast chooses layer by layer what runs in it.

    Args:
        spec: of the network.
        threads: of one run on the CPU; torch has one setting for the whole process.
    """

    def __init__(self, spec: EngineSpec, threads: int = 1) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self.device = torch.device("cuda", _gpu()) if torch.cuda.is_available() else _CPU
        if self.device.type == "cpu":
            torch.set_num_threads(threads)
        network = build(spec.model, spec.classes, mean=spec.mean, std=spec.std)
        network.load_state_dict(load_file(Path(spec.folder) / TENSORS_FILE), strict=True)
        network = network.eval().to(self.device)
        # Valid, but missing from torch's type stubs.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = FeatureExtractor(network, logits=True)
        self._batch = limits.SCORING_BATCH_GPU if self.device.type == "cuda" else spec.batch

    def run(self, pixels: Pixels) -> EngineOutput:
        """See :class:`pulmospark.inference.engine.spec.Engine`."""
        spec = self._spec
        pixels = check_pixels(pixels, spec.size)
        outputs = empty_outputs(spec, len(pixels))
        # TF32 is off: it has a 10-bit mantissa, and the engine promises float32.
        exact = torch.backends.cudnn.flags(allow_tf32=False)
        kind = _TYPES.get(spec.precision)
        lower = torch.autocast(self.device.type, kind, enabled=kind is not None)
        with self._lock, torch.inference_mode(), exact, lower:
            for start in range(0, len(pixels), self._batch):
                batch = torch.tensor(pixels[start : start + self._batch], device=self.device)
                answers = dict(zip(("logits", "features"), self._network(batch), strict=True))
                for name, values in outputs.items():
                    values[start : start + len(batch)] = answers[name].float().cpu().numpy()
        return EngineOutput(outputs.get("logits"), outputs.get("features"))
