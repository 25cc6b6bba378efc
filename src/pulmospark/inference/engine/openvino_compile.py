"""Compiles a network for this machine's CPU, and caches the result next to its files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pulmospark.config.inference import Precision
from pulmospark.core import machine
from pulmospark.core.errors import PlatformError
from pulmospark.core.files import write_bytes
from pulmospark.core.hashing import value_id
from pulmospark.inference.engine.openvino_import import import_openvino

IR_FILE = "model.xml"

_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
"""int8: quantised operations run in integers, the rest in float32"""


def compile_network(
    folder: Path,
    shape: tuple[int, int, int],
    precision: Precision,
    threads: int,
    *,
    extend: Callable[[Any], None] | None = None,
) -> Any:
    """OpenVINO's compiled form of ``folder/model.xml``.

    The first compilation on a kind of processor is cached in ``folder`` atomically; later calls
    load it in a fraction of the time. A folder that cannot be written to is ignored.

    Args:
        folder: with the network's files.
        shape: of a run's images; a fixed batch size runs about 5 % faster than a dynamic one.
        precision: of the arithmetic.
        threads: of one run.
        extend: adds outputs to the network before it is compiled; a top-level function, by whose
            name the result is cached.

    Raises:
        ImportError: openvino is not installed.
        RuntimeError: OpenVINO cannot read the files.
    """
    openvino = import_openvino()
    core = openvino.Core()
    settings = cpu_settings(threads, precision)
    parts_of_key = [list(shape), precision, *([extend.__name__] if extend else [])]
    kept = folder / f"compiled-{_compiled_id(parts_of_key)}.blob"
    if kept.is_file():
        with suppress(RuntimeError, OSError):  # then it is recompiled
            return core.import_model(kept.read_bytes(), "CPU", settings)
    model = core.read_model(folder / IR_FILE)
    if extend is not None:
        extend(model)
    model.reshape(list(shape))
    compiled = core.compile_model(model, "CPU", settings)
    with suppress(RuntimeError, OSError):
        write_bytes(kept, compiled.export_model().getvalue())
    return compiled


def cpu_settings(threads: int, precision: Precision = "fp32") -> dict[str, Any]:
    """OpenVINO's settings for a network on a CPU, with this many threads per run."""
    return {
        # Set explicitly: on processors with bf16 units the default is bf16, which changes
        # probabilities by up to 0.2.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        # With pinning, all workers of a machine share one core: half the speed with two.
        "ENABLE_CPU_PINNING": False,
    }


@functools.cache
def capabilities() -> frozenset[str]:
    """Number formats that OpenVINO supports on this CPU: ``FP32``, ``BF16``, ``INT8``, ..."""
    formats = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return frozenset(map(str, formats))


def _compiled_id(parts_of_key: list[Any]) -> str:
    version = str(import_openvino().get_version())
    return value_id([version, machine.processor_id(), *parts_of_key])


def save_openvino(model: Any, path: Path) -> None:
    """Write OpenVINO's form: ``path``, an ``.xml``, and its weights next to it, in float32.

    Raises:
        PlatformError: no space, or no right to write there.
    """
    try:
        # Its default would store the weights as float16.
        import_openvino().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise PlatformError(
            f"{path.parent.parent}: the network cannot be written there: check that the disk has "
            "space",
            detail=str(error),
        ) from error
