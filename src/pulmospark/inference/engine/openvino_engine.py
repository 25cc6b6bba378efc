"""The engine that runs a network in OpenVINO, on CPUs."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.errors import PlatformError
from pulmospark.core.machine import cache_folder
from pulmospark.inference.engine.openvino_compile import compile_network
from pulmospark.inference.engine.spec import EngineOutput, EngineSpec, check_pixels, empty_outputs


class OpenVinoEngine:
    """Runs OpenVINO's form of a network on the CPU.

    Threads that call it at the same time each have the network to themselves, up to
    ``limits.ENGINE_RUNS_MAX`` of them: one after the other is opened when it is needed. One with
    several streams ran no faster, and slower for a single thread.

    Args:
        spec: of the network.
        threads: of one run.

    Raises:
        PlatformError: openvino is not installed, or cannot read the network.
    """

    def __init__(self, spec: EngineSpec, threads: int = 1) -> None:
        self._spec, self._threads = spec, threads
        self._opening = threading.Lock()
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._opened = 0
        with self._request():
            pass  # opened now, so that a fault is raised here

    def _open(self) -> Any:
        spec = self._spec
        shape = (spec.batch, spec.size, spec.size)
        try:
            self._compiled = compile_network(
                Path(spec.folder), shape, spec.precision, self._threads
            )
            return self._compiled.create_infer_request()
        except (ImportError, RuntimeError) as error:
            raise PlatformError(
                f"{spec.folder}: OpenVINO cannot open the network ({type(error).__name__}): "
                f"delete the folder, and {cache_folder() / 'engines'}, where it may come from; "
                "both are then rebuilt",
                detail=str(error),
            ) from error

    @contextlib.contextmanager
    def _request(self) -> Iterator[Any]:
        """A request that no other thread uses meanwhile."""
        request = None
        with contextlib.suppress(queue.Empty):
            request = self._idle.get_nowait()
        if request is None:
            with self._opening:
                if self._opened < limits.ENGINE_RUNS_MAX:
                    request = self._open()
                    self._opened += 1
        if request is None:
            request = self._idle.get()
        try:
            yield request
        finally:
            self._idle.put(request)

    @property
    def precision(self) -> str:
        """The number format of the arithmetic."""
        return str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())

    def run(self, pixels: Pixels) -> EngineOutput:
        """See :class:`Engine`."""
        spec = self._spec
        pixels = check_pixels(pixels, spec.size)
        outputs = empty_outputs(spec, len(pixels))
        with self._request() as request:
            # Filled in place: what OpenVINO's Python does with an array that it is given takes as
            # long as the rows of the images.
            held = request.get_input_tensor().data
            for start in range(0, len(pixels), spec.batch):
                count = min(spec.batch, len(pixels) - start)
                held[:count] = pixels[start : start + count]
                held[count:] = 0
                # No copies: the results are written to `outputs` before the next run.
                request.infer(share_outputs=True)
                for place, name in enumerate(spec.names()):
                    answer = request.get_output_tensor(place).data
                    outputs[name][start : start + count] = answer[:count]
        return EngineOutput(outputs.get("logits"), outputs.get("features"))
