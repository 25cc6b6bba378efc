"""Folders of fitted models and temporary tables, and their lifetime."""

from __future__ import annotations

import contextlib
import shutil
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path

from pulmospark.core.files import disk_errors, whole_folder
from pulmospark.models.bundle.bundle import Bundle, read_bundle


class OwnBundle:
    """A bundle that is deleted with the last model that uses it.

    Attributes:
        folder: of the bundle.
    """

    def __init__(self, work: Path) -> None:
        self.folder = work / "ml" / "models" / uuid.uuid4().hex
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@contextlib.contextmanager
def passing_folder(work: Path) -> Iterator[Path]:
    """A temporary folder that every worker sees."""
    folder = work / "ml" / "passing" / uuid.uuid4().hex
    with disk_errors(folder):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_bundle(source: Path, target: Path) -> Bundle:
    """Copy a bundle atomically, and read the copy.

    Raises:
        BundleError: it is damaged.
        PlatformError: no space, or no right to write there.
    """
    read_bundle(source)
    with whole_folder(target) as aside:
        shutil.copytree(source, aside, dirs_exist_ok=True)
    return read_bundle(target)
