"""The engine that runs a network in OpenVINO, on CPUs."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from pulmospark.core.arrays import Pixels
from pulmospark.core.errors import EnvironmentProblem
from pulmospark.core.machine import cache_folder
from pulmospark.inference.engine.openvino_compile import compile_network
from pulmospark.inference.engine.spec import EngineOutput, EngineSpec, check_pixels, empty_outputs


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
                f"delete the folder, and {cache_folder() / 'engines'}, where it may come from; "
                "both are then rebuilt",
                detail=str(error),
            ) from error
        self._request = self._compiled.create_infer_request()

    @property
    def precision(self) -> str:
        """The number format of the arithmetic."""
        return str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    def run(self, pixels: Pixels) -> EngineOutput:
        """See :class:`Engine`."""
        spec = self._spec
        pixels = check_pixels(pixels, spec.size)
        outputs = empty_outputs(spec, len(pixels))
        with self._lock:
            for start in range(0, len(pixels), spec.batch):
                batch = pixels[start : start + spec.batch]
                if (count := len(batch)) < spec.batch:
                    batch = np.concatenate(
                        [batch, np.zeros((spec.batch - count, *batch.shape[1:]), np.uint8)]
                    )
                # No copies: `batch` lives until the run ends, and its results are written to
                # `outputs` before the next run.
                self._request.infer([batch], share_inputs=True, share_outputs=True)
                for place, name in enumerate(spec.names()):
                    answer = self._request.get_output_tensor(place).data
                    outputs[name][start : start + count] = answer[:count]
        return EngineOutput(outputs.get("logits"), outputs.get("features"))
