"""Caches engines, so that a bundle is converted only once."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pulmospark.config.parse import parse
from pulmospark.core import files, limits, machine
from pulmospark.core.errors import PulmosparkError
from pulmospark.inference.engine.spec import SPEC_FILE, EngineSpec


def cached_engine(
    key: str, folder: Path, make: Callable[[], EngineSpec], *, in_place: bool = False
) -> EngineSpec:
    """An engine in ``folder``: from the cache if an earlier call built it, else a new one.

    Its files include what OpenVINO compiled for a processor. ``in_place`` keeps that for later
    calls.

    Args:
        key: SHA-256 of all that the engine's files depend on.
        folder: of engines; readable by every worker.
        make: builds the engine in ``folder``.
        in_place: use the engine in the cache itself, where all workers are on this machine.

    Raises:
        PlatformError: no space, or no right to write in ``folder``. A cache that cannot be
            written to is ignored.
    """
    kept = machine.cache_folder() / "engines" / key
    with suppress(PulmosparkError, OSError):
        spec = parse(EngineSpec, files.read_json(kept / SPEC_FILE), where=str(kept))
        os.utime(kept)  # marks it as recently used
        if in_place:
            return spec.model_copy(update={"folder": str(kept)})
        target = folder.resolve() / spec.engine_id
        if not (target / SPEC_FILE).is_file():
            with files.whole_folder(target) as aside:
                _copy(kept, aside)
        return spec.model_copy(update={"folder": str(target)})
    spec = make()
    with suppress(PulmosparkError, OSError):
        with files.whole_folder(kept) as aside:
            _copy(Path(spec.folder), aside)
        files.forget_oldest(kept.parent, limits.ENGINES_KEPT_MAX)
        if in_place:
            return spec.model_copy(update={"folder": str(kept)})
    return spec


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a folder, as hard links where the disk allows it."""
    for path in source.iterdir():
        if path.name.startswith("."):
            continue  # being written by a worker
        files.link_or_copy(path, target / path.name)
