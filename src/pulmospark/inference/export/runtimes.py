"""Runs an exported file in OpenVINO and ONNX Runtime."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from pulmospark.core.arrays import Floats, Pixels
from pulmospark.core.errors import PlatformError
from pulmospark.inference.engine.openvino_compile import cpu_settings
from pulmospark.inference.engine.openvino_import import import_openvino

_BATCH = 4


def run_openvino(path: Path, pixels: Pixels) -> Floats:
    """Probabilities (n, classes) by OpenVINO in float32, from ``.xml`` or ``.onnx``.

    Raises:
        PlatformError: OpenVINO cannot open the file.
    """
    core = import_openvino().Core()
    try:
        compiled = core.compile_model(core.read_model(path), "CPU", cpu_settings(1))
        probabilities = [np.array(compiled([part])[0]) for part in _parts(pixels)]
    except RuntimeError as error:
        raise PlatformError(
            f"OpenVINO cannot run the exported file ({type(error).__name__}): nothing was "
            "written: try the other format (--to)",
            detail=str(error),
        ) from error
    return np.concatenate(probabilities).astype(np.float64)


def run_onnxruntime(path: Path, pixels: Pixels) -> Floats | None:
    """Probabilities (n, classes) by ONNX Runtime; ``None``: it is not installed.

    Raises:
        PlatformError: it cannot run the file.
    """
    try:
        runtime = importlib.import_module("onnxruntime")  # an extra
    except ImportError:
        return None
    runtime.disable_telemetry_events()
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        probabilities = [session.run(None, {name: part})[0] for part in _parts(pixels)]
    except Exception as error:
        raise PlatformError(
            f"ONNX Runtime cannot run the exported file ({type(error).__name__}): nothing was "
            "written: use --to openvino",
            detail=str(error),
        ) from error
    return np.concatenate(probabilities).astype(np.float64)


def _parts(pixels: Pixels) -> list[Pixels]:
    """The first image alone, the others in batches: the file must accept any number."""
    starts = range(1, len(pixels), _BATCH)
    return [part for part in np.split(pixels, list(starts)) if len(part)]
