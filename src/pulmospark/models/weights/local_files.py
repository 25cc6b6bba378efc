"""Local files of ImageNet weights; imports no torch, uses no network."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from pulmospark.core import limits, machine
from pulmospark.core.errors import InputError, PlatformError, UsageError
from pulmospark.core.locations import path_of_variable
from pulmospark.core.store_uri import StoreUri, is_store_uri, parse_uri
from pulmospark.models.zoo.entry import WeightsFile, ZooEntry
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.folders import fetch_file

VARIABLE = "PULMOSPARK_WEIGHTS"
"""environment variable: a folder with files of ImageNet weights"""

SUM_END = ".sha256"
"""suffix of the file with the SHA-256 of a weights file"""

_ENDS = (".safetensors", ".pth")

_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")


def cache_folder() -> Path:
    """Folder of downloaded weights: ``weights`` in pulmospark's cache folder."""
    return machine.cache_folder() / "weights"


def find_local(known: ZooEntry, source: Path | StoreUri | None = None) -> Path | None:
    """Path of a file with a network's ImageNet weights on this machine; ``None`` if there is none.

    Args:
        known: the network.
        source: a file, or a folder with the files listed in the zoo; ``None``: the folder of
            ``PULMOSPARK_WEIGHTS``, then the cache. Both may be addresses in a store, whose file is
            copied to this machine once.

    Raises:
        UsageError: the zoo has no ImageNet weights for this network, or ``source`` does not
            exist.
        PlatformError: ``source`` has none, or ``PULMOSPARK_WEIGHTS`` is not a folder.
        SourceUnavailableError: the store fails.
    """
    if not known.weights:
        raise UsageError(f"{known.name}: no ImageNet weights exist: use weights = 'none'")
    if source is not None:
        return _in_source(known, source)
    named = _of_variable()
    if isinstance(named, StoreUri):
        return _in_source(known, named)
    if named is not None and not named.is_dir():
        raise PlatformError(f"{VARIABLE} is {str(named)!r}: no such folder; correct or unset it")
    if named is not None and (path := _in_folder(known, named)) is not None:
        return path
    # A .pth in the cache is not converted yet; the download does that.
    converted = (cache_folder() / file.name for file in known.weights)
    return next((path for path in converted if path.is_file()), None)


def nowhere(known: ZooEntry, why: str = "") -> PlatformError:
    """The error for unavailable weights, with how to get them."""
    homes = [file.url or file.home for file in known.weights]
    from_where = f" (from {' or '.join(filter(None, homes))})" if any(homes) else ""
    return PlatformError(
        f"{known.name}: no ImageNet weights in {cache_folder()}{why}: set {VARIABLE} to a folder "
        f"with {' or '.join(names(known))}{from_where}, or use weights = 'none'"
    )


def names(known: ZooEntry) -> list[str]:
    """Possible names of a network's weights files."""
    return [name for file in known.weights for name in file.names]


def file_of(known: ZooEntry, path: Path) -> WeightsFile | None:
    """The zoo's entry of a file, by its name; ``None`` for a user's file."""
    return next((file for file in known.weights if path.name in file.names), None)


def check_hash(known: ZooEntry, path: Path, sha256: str) -> None:
    """Check a weights file against its SHA-256, if known.

    It is known for files pinned by the zoo, from the name of a hub file, and from a file
    ``NAME.sha256`` in the same folder, as ``sha256sum`` writes it.

    Raises:
        InputError: the hash differs.
    """
    for wanted in _hashes(known, path):
        if not sha256.startswith(wanted):
            raise InputError(
                f"{path}: SHA-256 is {sha256[:16]}..., but {wanted[:16]}... for the published "
                "file: download it again, or rename it if it is your own"
            )


def _hashes(known: ZooEntry, path: Path) -> list[str]:
    hashes = []
    file = file_of(known, path)
    if file is not None and path.name == file.name and file.sha256:
        hashes.append(file.sha256)
    if file is not None and (digits := _HASH_IN_NAME.search(path.name)):
        hashes.append(digits.group(1))
    sum_file = path.with_name(path.name + SUM_END)
    if sum_file.is_file():
        with sum_file.open(encoding="utf-8", errors="replace") as lines:
            hashes.append(lines.read(64))
    return hashes


def _of_variable() -> Path | StoreUri | None:
    text = os.environ.get(VARIABLE, "")
    return parse_uri(text) if is_store_uri(text) else path_of_variable(VARIABLE)


def _in_source(known: ZooEntry, source: Path | StoreUri) -> Path:
    if isinstance(source, StoreUri):
        return _in_store(known, source)
    if source.is_file():
        return source
    if not source.is_dir():
        raise UsageError(f"{source}: no such weights file or folder")
    if (path := _in_folder(known, source)) is None:
        raise PlatformError(
            f"{source}: no ImageNet weights of {known.name}: put {' or '.join(names(known))} there"
        )
    return path


def _in_store(known: ZooEntry, source: StoreUri) -> Path:
    """A copy of the object itself, or of one with a known name below the address."""
    for uri in (source, *(source / name for name in names(known))):
        if uri.name.endswith(_ENDS):
            with contextlib.suppress(ObjectMissingError):
                return fetch_file(uri, bytes_max=limits.WEIGHTS_FILE_BYTES_MAX)
    raise PlatformError(
        f"{source}: no ImageNet weights of {known.name}: put {' or '.join(names(known))} there"
    )


def _in_folder(known: ZooEntry, folder: Path) -> Path | None:
    return next((path for name in names(known) if (path := folder / name).is_file()), None)
