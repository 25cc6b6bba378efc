"""Bundles that may be taken up: those in the folder that the service was given."""

from __future__ import annotations

import os
from pathlib import Path

from pulmospark.serve.errors import ServiceError


def named_bundle(folder: Path | None, name: str) -> Path:
    """The folder of a bundle, by its name.

    The name is looked for among the entries of the folder and never becomes part of a path.

    Args:
        folder: with bundles, or runs; ``None``: there is none.
        name: of one of them.

    Raises:
        ServiceError: 404, there is no such bundle.
    """
    if folder is None:
        raise ServiceError(
            404, "name: no folder of bundles is configured: start with --bundles FOLDER"
        )
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == name and entry.is_dir(follow_symlinks=False):
                return Path(entry.path)
    raise ServiceError(404, "name: no such bundle in the folder given with --bundles")
