"""Quantises a network to int8 with NNCF, calibrated on images to be scored."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from importlib import metadata
from pathlib import Path
from typing import Any

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.files import whole_folder, write_json
from pulmospark.core.hashing import bytes_id, value_id
from pulmospark.inference.engine.openvino_compile import IR_FILE, save_openvino
from pulmospark.inference.engine.openvino_import import import_nncf, import_openvino
from pulmospark.inference.engine.spec import SPEC_FILE, EngineSpec


def can_quantise() -> bool:
    """Whether NNCF is installed."""
    return importlib.util.find_spec("nncf") is not None


def quantised(exact: EngineSpec, pixels: Pixels) -> EngineSpec:
    """Write a network in int8 next to its float32 form; once for the same images.

    Weights and activations become 8-bit integers (symmetric weights, NNCF's default preset),
    scaled by the range of the activations on ``pixels``; nothing is trained.

    Args:
        exact: the network in float32, for OpenVINO.
        pixels: (n, size, size) standard images.

    Raises:
        PlatformError: no space, or no right to write there.
    """
    sample = bytes_id(pixels.tobytes())
    engine_id = value_id([exact.engine_id, "int8", metadata.version("nncf"), sample])
    target = Path(exact.folder).parent / engine_id
    spec = exact.model_copy(
        update={
            "folder": str(target),
            "engine_id": engine_id,
            "precision": "int8",
            "batch": limits.ENGINE_BATCH_LOWER,
        }
    )
    if not (target / SPEC_FILE).is_file():
        with whole_folder(target) as aside:
            save_openvino(_quantised(Path(exact.folder) / IR_FILE, pixels), aside / IR_FILE)
            write_json(aside / SPEC_FILE, spec.model_dump(mode="json"))
    return spec


def _quantised(path: Path, pixels: Pixels) -> Any:
    nncf = import_nncf()
    model = import_openvino().Core().read_model(path)
    images = nncf.Dataset([pixels[at : at + 1] for at in range(len(pixels))])
    nncf.set_log_level("ERROR")
    # NNCF draws progress bars on standard output, which is for results.
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(model, images, subset_size=len(pixels))
