"""The engine of a bundle, converted once per machine."""

from __future__ import annotations

from pathlib import Path

import pulmospark
from pulmospark.core.hashing import value_id
from pulmospark.inference.engine.build import has_gpu, library_version, prepare_engine
from pulmospark.inference.engine.cache import cached_engine
from pulmospark.inference.engine.spec import EngineSpec, Kind, Outputs
from pulmospark.models.bundle.bundle import Bundle


def bundle_engine(bundle: Bundle, folder: Path, *, kind: Kind | None = None) -> EngineSpec:
    """A bundle's network in float32 in ``folder``; converted once per machine.

    It outputs logits, and also features if the bundle has their statistics.

    Args:
        bundle: the model.
        folder: for the engine's files; readable by every worker.
        kind: see :func:`pulmospark.inference.engine.build.prepare_engine`.

    Raises:
        BundleError: the bundle's tensors have changed.
        EnvironmentProblem: no space, or no right to write there.
    """
    size = bundle.config.input_size
    outputs: Outputs = "both" if bundle.config.distance else "logits"
    parts_of_key = [bundle.model_id, size, outputs]
    key = value_id([*parts_of_key, pulmospark.__version__, library_version("openvino")])

    def make() -> EngineSpec:
        return prepare_engine(bundle.network(), folder, outputs=outputs, size=size, kind=kind)

    if kind == "torch":  # not converted, so caching gains nothing
        return make()

    return make() if has_gpu() else cached_engine(key, folder, make)
