"""Opens the engine that runs a network: OpenVINO on CPUs, else PyTorch.

This is the worker's side. It imports torch only for a torch engine, so that a Spark worker is
ready in a fraction of a second. The driver's side is
:mod:`pulmospark.inference.engine.build`.
"""

from __future__ import annotations

import functools
import threading
from pathlib import Path

from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.inference.engine.openvino_compile import IR_FILE
from pulmospark.inference.engine.openvino_engine import OpenVinoEngine
from pulmospark.inference.engine.spec import TENSORS_FILE, Engine, EngineSpec
from pulmospark.store.folders import folder_here

_ENGINES_MAX = 4


def open_engine(spec: EngineSpec, threads: int = 1) -> Engine:
    """Open an engine once per process: later calls with the same spec return the same one.

    Args:
        spec: from :func:`pulmospark.inference.engine.build.prepare_engine`.
        threads: of one run.

    Raises:
        PlatformError: the engine's files are not found on this machine, or its library is
            missing.
        UsageError: ``threads`` is below 1.
    """
    with _OPENING:
        return _opened(spec, threads)


_OPENING = threading.Lock()


@functools.lru_cache(maxsize=_ENGINES_MAX)
def _opened(spec: EngineSpec, threads: int) -> Engine:
    return new_engine(spec, threads)


def new_engine(spec: EngineSpec, threads: int = 1) -> Engine:
    """Open an engine that nothing else holds, so that dropping it frees its memory.

    Args and errors are those of :func:`open_engine`.
    """
    if threads < 1:
        raise UsageError(f"threads is {threads}: an engine needs at least 1")
    spec = spec.model_copy(update={"folder": str(folder_here(spec.folder))})
    file = Path(spec.folder) / (IR_FILE if spec.kind == "openvino" else TENSORS_FILE)
    if not file.is_file():
        raise PlatformError(
            f"{file}: model file not found on this worker: keep the work folder on storage that "
            "every worker mounts"
        )
    if spec.kind == "openvino":
        return OpenVinoEngine(spec, threads)
    # Inside: importing torch takes a second and hundreds of MB, which OpenVINO workers avoid.
    from pulmospark.inference.engine.torch_engine import TorchEngine  # noqa: PLC0415

    return TorchEngine(spec, threads)
