"""Where files of ImageNet weights lie on this machine; imports no torch, asks no network."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pulmospark.core.errors import EnvironmentProblem, InputError, UsageError
from pulmospark.core.machine import home_folder
from pulmospark.models.zoo_entry import WeightsFile, ZooEntry

VARIABLE = "PULMOSPARK_WEIGHTS"
"""environment variable: a folder with files of ImageNet weights"""

SUM_END = ".sha256"
"""ending of the file beside one of weights that holds its SHA-256"""

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")


def cache_folder() -> Path:
    """Where fetched weights are kept: ``$XDG_CACHE_HOME`` or ``~/.cache``, pulmospark/weights."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG rules: a relative path there is to be ignored.
    root = Path(base) if base and Path(base).is_absolute() else home_folder() / ".cache"
    return root / "pulmospark" / "weights"


def find_local(known: ZooEntry, source: Path | None = None) -> Path | None:
    """Path of a file with a network's ImageNet weights on this machine; ``None``: there is none.

    Args:
        known: the network.
        source: a file, or a folder with the files that the zoo names; ``None``: the folder of
            ``PULMOSPARK_WEIGHTS``, then the cache.

    Raises:
        UsageError: the zoo knows no ImageNet weights of this network, or ``source`` is not
            there.
        EnvironmentProblem: ``source`` has none, or ``PULMOSPARK_WEIGHTS`` is no folder.
    """
    if not known.weights:
        raise UsageError(
            f"{known.name}: there are no ImageNet weights of it: use weights = 'none'"
        )
    if source is not None:
        return _in_source(known, source)
    named = os.environ.get(VARIABLE)
    if named and not Path(named).is_dir():
        raise EnvironmentProblem(f"{VARIABLE} is {named!r}: no such folder; correct or unset it")
    if named and (found := _in_folder(known, Path(named))) is not None:
        return found
    # In the cache a .pth is not converted yet: that is for the hub's part to do.
    converted = (cache_folder() / file.name for file in known.weights)
    return next((path for path in converted if path.is_file()), None)


def nowhere(known: ZooEntry, why: str = "") -> EnvironmentProblem:
    """The error where a network's weights are not to be had, with how to get them."""
    homes = [file.url or file.home for file in known.weights]
    from_where = f" (from {' or '.join(filter(None, homes))})" if any(homes) else ""
    return EnvironmentProblem(
        f"{known.name}: no ImageNet weights in {cache_folder()}{why}: set {VARIABLE} to a folder "
        f"with {' or '.join(names(known))}{from_where}, or use weights = 'none'"
    )


def names(known: ZooEntry) -> list[str]:
    """Names that a network's files of weights may have."""
    return [name for file in known.weights for name in file.names]


def file_of(known: ZooEntry, path: Path) -> WeightsFile | None:
    """What the zoo knows of a file, by its name; ``None``: it is the user's own."""
    return next((file for file in known.weights if path.name in file.names), None)


def check_hash(known: ZooEntry, path: Path, sha256: str) -> None:
    """Check a file of weights against its SHA-256, where that is known.

    It is known of files that the zoo pins, from the name of a file of the hub, and from a
    file ``NAME.sha256`` beside it, as ``sha256sum`` writes it.

    Raises:
        InputError: it is another.
    """
    for wanted in _hashes(known, path):
        if not sha256.startswith(wanted):
            raise InputError(
                f"{path}: SHA-256 {sha256[:16]}..., and {wanted[:16]}... is that of the "
                "published file: it is damaged; get it again, or give yours another name"
            )


def _hashes(known: ZooEntry, path: Path) -> list[str]:
    found = []
    file = file_of(known, path)
    if file is not None and path.name == file.name and file.sha256:
        found.append(file.sha256)
    if file is not None and (digits := _HASH_IN_NAME.search(path.name)):
        found.append(digits.group(1))
    beside = path.with_name(path.name + SUM_END)
    if beside.is_file():
        with beside.open(encoding="utf-8", errors="replace") as lines:
            found.append(lines.read(64))
    return found


def _in_source(known: ZooEntry, source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise UsageError(f"{source}: no such file or folder of weights")
    if (found := _in_folder(known, source)) is None:
        raise EnvironmentProblem(
            f"{source}: no ImageNet weights of {known.name}: put {' or '.join(names(known))} there"
        )
    return found


def _in_folder(known: ZooEntry, folder: Path) -> Path | None:
    return next((path for name in names(known) if (path := folder / name).is_file()), None)
