"""The engine of a bundle, converted once per machine."""

from __future__ import annotations

from pathlib import Path

import pulmospark
from pulmospark.core.hashing import value_id
from pulmospark.inference.engine.available import has_gpu, library_version
from pulmospark.inference.engine.bundle_form import FORM_VERSION, engine_in, outputs_of
from pulmospark.inference.engine.cache import cached_engine
from pulmospark.inference.engine.spec import EngineSpec, Kind
from pulmospark.models.bundle.bundle import Bundle


def bundle_engine(
    bundle: Bundle, folder: Path, *, kind: Kind | None = None, in_place: bool = False
) -> EngineSpec:
    """A bundle's network in float32 in ``folder``; converted once per machine.

    It outputs logits, and also features if the bundle has their statistics.

    Args:
        bundle: the model.
        folder: for the engine's files; readable by every worker.
        kind: see :func:`pulmospark.inference.engine.build.prepare_engine`.
        in_place: see :func:`pulmospark.inference.engine.cache.cached_engine`.

    Raises:
        BundleError: the bundle's tensors have changed.
        PlatformError: no space, or no right to write there.
    """
    config = bundle.config
    outputs = outputs_of(config)

    def make() -> EngineSpec:
        kept = None if is_torch else engine_in(bundle, folder)
        if kept is not None:
            return kept
        # Inside: torch takes seconds, which a bundle with its engine's form is spared.
        from pulmospark.inference.engine.build import prepare_engine  # noqa: PLC0415

        return prepare_engine(
            bundle.network(), folder, outputs=outputs, size=config.input_size, kind=kind
        )

    is_torch = kind == "torch" or (kind is None and has_gpu())
    if is_torch:  # not converted, so caching gains nothing
        return make()
    versions = [pulmospark.__version__, FORM_VERSION, library_version("openvino")]
    key = value_id([bundle.model_id, config.input_size, outputs, *versions])
    return cached_engine(key, folder, make, in_place=in_place)
