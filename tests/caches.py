"""Caches of machines of tests."""

from __future__ import annotations

from pathlib import Path

from pulmospark.core.machine import cache_folder


def new_cache(home: Path) -> Path:
    """An empty cache, for ``XDG_CACHE_HOME``, but for the archive of Spark's classes.

    Without it, each session starts slowly, and the second one records it.
    """
    classes = cache_folder() / "java"
    classes.mkdir(parents=True, exist_ok=True)
    folder = home / cache_folder().name
    folder.mkdir(parents=True)
    (folder / "java").symlink_to(classes.resolve())
    return home
