"""Virtual environments that lack some of the packages of the one that runs the tests."""

from __future__ import annotations

import sysconfig
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pulmospark


def environment_with(folder: Path, wanted: Iterable[str]) -> Path:
    """An environment with pulmospark and some distributions, as links to their files.

    Args:
        folder: for it.
        wanted: names of the distributions; what they need is not added.

    Returns:
        Its Python.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    target = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    here = Path(sysconfig.get_path("purelib"))
    (target / "pulmospark").symlink_to(Path(pulmospark.__file__).parent)
    for name in wanted:
        for entry in {Path(str(file)).parts[0] for file in metadata.files(name) or ()}:
            link = target / entry
            if entry in {"..", "__pycache__"} or link.suffix == ".pth" or link.is_symlink():
                continue
            link.symlink_to(here / entry)
    return python


def environment_without(folder: Path, unwanted: Iterable[str]) -> Path:
    """An environment with all distributions but some; see :func:`environment_with`."""
    left_out = {*unwanted, "pip"}
    names = {each.metadata["Name"] for each in metadata.distributions()}
    return environment_with(folder, sorted(names - left_out))
