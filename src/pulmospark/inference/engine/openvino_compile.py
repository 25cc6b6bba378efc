"""Compiles a network for this machine's CPU, and keeps what was compiled beside its files."""

from __future__ import annotations

import functools
from contextlib import suppress
from pathlib import Path
from typing import Any

from pulmospark.config.inference import Precision
from pulmospark.core import machine
from pulmospark.core.files import write_bytes
from pulmospark.core.hashing import value_id
from pulmospark.inference.engine.openvino_import import import_openvino

IR_FILE = "model.xml"

_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""int8: what its files hold as integers runs as such, the rest in float32"""


def compile_network(
    folder: Path, shape: tuple[int, int, int], precision: Precision, threads: int
) -> Any:
    """OpenVINO's compiled form of ``folder/model.xml``.

    The first to compile on a kind of processor leaves the outcome in ``folder``, whole or not
    at all; later ones load it in a fraction of the time. That nothing can be written there is
    no fault.

    Args:
        folder: with the network's files.
        shape: of a run's images; a fixed batch runs some 5 % faster than one of any length.
        precision: of the arithmetic.
        threads: of one run.

    Raises:
        ImportError: openvino is not installed.
        RuntimeError: OpenVINO cannot read the files.
    """
    openvino = import_openvino()
    core = openvino.Core()
    settings = cpu_settings(threads, precision)
    kept = folder / f"compiled-{_compiled_id(shape, precision)}.blob"
    if kept.is_file():
        with suppress(RuntimeError, OSError):  # then it is compiled anew
            return core.import_model(kept.read_bytes(), "CPU", settings)
    model = core.read_model(folder / IR_FILE)
    model.reshape(list(shape))
    compiled = core.compile_model(model, "CPU", settings)
    with suppress(RuntimeError, OSError):
        write_bytes(kept, compiled.export_model().getvalue())
    return compiled


def cpu_settings(threads: int, precision: Precision = "fp32") -> dict[str, Any]:
    """What OpenVINO is told for a network on a CPU, with as many threads a run."""
    return {
        # Told outright: on processors with bf16 units the default is bf16, which moves
        # probabilities by up to 0.2.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        # Pinned, the workers of one machine all sit on the same core: half the speed with two.
        "ENABLE_CPU_PINNING": False,
    }


@functools.cache
def capabilities() -> frozenset[str]:
    """What OpenVINO can calculate in on this CPU: ``FP32``, ``BF16``, ``INT8``, ..."""
    told = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return frozenset(map(str, told))


def _compiled_id(shape: tuple[int, int, int], precision: Precision) -> str:
    version = str(import_openvino().get_version())
    return value_id([version, machine.processor_id(), list(shape), precision])
