"""Engines made once and kept: a bundle that is scored with again is not converted again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pulmospark.config.parse import parse
from pulmospark.core import files, limits, machine
from pulmospark.core.errors import PulmosparkError
from pulmospark.inference.engine.spec import SPEC_FILE, EngineSpec


def cached_engine(key: str, folder: Path, make: Callable[[], EngineSpec]) -> EngineSpec:
    """An engine in ``folder``: that of an earlier call where it is kept, else a new one.

    Args:
        key: SHA-256 of all that the engine's files depend on.
        folder: of engines; every worker has to see it.
        make: makes the engine in ``folder``.

    Raises:
        EnvironmentProblem: no space, or no right to write in ``folder``. That nothing can be
            kept in the cache is no fault.
    """
    kept = machine.cache_folder() / "engines" / key
    with suppress(PulmosparkError, OSError):
        spec = parse(EngineSpec, files.read_json(kept / SPEC_FILE), where=str(kept))
        target = folder.resolve() / spec.engine_id
        if not (target / SPEC_FILE).is_file():
            with files.whole_folder(target) as aside:
                _copy(kept, aside)
        os.utime(kept)  # used last
        return spec.model_copy(update={"folder": str(target)})
    spec = make()
    with suppress(PulmosparkError, OSError):
        with files.whole_folder(kept) as aside:
            _copy(Path(spec.folder), aside)
        _forget_oldest(kept.parent)
    return spec


def _copy(source: Path, target: Path) -> None:
    """The files of a folder, as further names of the same bytes where the disk allows it."""
    for path in source.iterdir():
        if path.name.startswith("."):
            continue  # a worker is writing it
        files.link_or_copy(path, target / path.name)


def _forget_oldest(folder: Path) -> None:
    made = [path for path in folder.iterdir() if not path.name.startswith(".")]
    made.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in made[limits.ENGINES_KEPT_MAX :]:
        shutil.rmtree(path, ignore_errors=True)
