"""The engine that runs a network in PyTorch: on a GPU, or where OpenVINO cannot."""

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
    """The GPU that Spark gave to this task; the first where it gave none, or hides the others."""
    given = task_gpu() or 0
    return given if given < torch.cuda.device_count() else 0


class TorchEngine:
    """Runs a network on the GPU where there is one.

    In a lower precision torch's autocast decides layer by layer what is calculated in it.

    Args:
        spec: of the network.
        threads: of one run on the CPU; torch has one number for the whole process.
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
        # torch takes it, its type stubs do not know it.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = FeatureExtractor(network, logits=True)
        self._batch = limits.SCORING_BATCH_GPU if self.device.type == "cuda" else spec.batch

    def run(self, pixels: Pixels) -> EngineOutput:
        """See :class:`pulmospark.inference.engine.spec.Engine`."""
        spec = self._spec
        pixels = check_pixels(pixels, spec.size)
        found = empty_outputs(spec, len(pixels))
        # TF32 is off: it has 10 bits of mantissa, and float32 was promised.
        exact = torch.backends.cudnn.flags(allow_tf32=False)
        kind = _TYPES.get(spec.precision)
        lower = torch.autocast(self.device.type, kind, enabled=kind is not None)
        with self._lock, torch.inference_mode(), exact, lower:
            for start in range(0, len(pixels), self._batch):
                batch = torch.tensor(pixels[start : start + self._batch], device=self.device)
                answers = dict(zip(("logits", "features"), self._network(batch), strict=True))
                for name, room in found.items():
                    room[start : start + len(batch)] = answers[name].float().cpu().numpy()
        return EngineOutput(found.get("logits"), found.get("features"))
