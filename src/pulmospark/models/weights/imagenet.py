"""ImageNet weights: finding and loading them.

They are searched in this order: the given file or folder; the folder of the environment variable
``PULMOSPARK_WEIGHTS``; the cache; torchvision's hub, whose file is verified, read without
executing it, and cached as safetensors. A network never silently keeps random weights.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pulmospark.core import limits
from pulmospark.core.download import Progress
from pulmospark.core.errors import InputError, PlatformError
from pulmospark.core.files import disk_errors, whole_file, write_text
from pulmospark.core.hashing import file_id
from pulmospark.core.store_uri import StoreUri
from pulmospark.models.weights.download import fetch
from pulmospark.models.weights.local_files import (
    SUM_END,
    VARIABLE,
    cache_folder,
    check_hash,
    file_of,
    find_local,
    nowhere,
)
from pulmospark.models.weights.pth_reader import read_torch_archive
from pulmospark.models.zoo.catalogue import entry
from pulmospark.models.zoo.entry import ZooEntry
from pulmospark.models.zoo.network import Network

__all__ = ["VARIABLE", "WeightsOrigin", "cache_folder", "find_weights", "load_imagenet"]

_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class WeightsOrigin:
    """Origin of a network's initial weights, for the bundle's provenance."""

    file: str
    """name of the file, without its folder"""
    sha256: str
    licence: str | None
    """``None`` for a user's file"""


def load_imagenet(
    network: Network,
    *,
    source: Path | StoreUri | None = None,
    hub: bool = True,
    on_progress: Progress | None = None,
) -> WeightsOrigin:
    """Load ImageNet weights into a network's backbone; its head is unchanged.

    Layers that a paper added to a published backbone are unchanged too.

    Args:
        network: from ``zoo.build``; changed in place.
        source: a file, or a folder with the files listed in the zoo; ``None``: see above.
        hub: whether to download missing weights.
        on_progress: called with the bytes downloaded and the total bytes.

    Returns:
        The origin of the weights.

    Raises:
        UsageError: the zoo has no ImageNet weights for this network, or ``source`` does not
            exist.
        PlatformError: the weights are not available.
        InputError: the file is damaged, or has no weights of this network.
    """
    known = entry(network.name)
    path = find_weights(network.name, source=source, hub=hub, on_progress=on_progress)
    sha256 = file_id(path)
    check_hash(known, path, sha256)
    _load(network, known, _read(path), path)
    file = file_of(known, path)
    return WeightsOrigin(path.name, sha256, file.licence if file else None)


def find_weights(
    name: str,
    *,
    source: Path | StoreUri | None = None,
    hub: bool = True,
    on_progress: Progress | None = None,
) -> Path:
    """Path of a file with a network's ImageNet weights, downloaded if necessary.

    For arguments and errors see :func:`load_imagenet`.
    """
    known = entry(name)
    return find_local(known, source) or _from_hub(known, hub=hub, on_progress=on_progress)


def _from_hub(known: ZooEntry, *, hub: bool, on_progress: Progress | None) -> Path:
    file = next((file for file in known.weights if file.url), None)
    if not hub or file is None or file.url is None:
        raise nowhere(known)
    cache = cache_folder()
    try:
        archive = fetch(file.url, cache, on_progress=on_progress)
    except PlatformError as error:
        raise nowhere(known, f", and {error.message}; or") from error
    target = cache / file.name
    with disk_errors(target), whole_file(target) as aside:
        save_file(read_torch_archive(archive), aside)
        write_text(target.with_name(target.name + SUM_END), f"{file_id(aside)}  {file.name}\n")
    archive.unlink(missing_ok=True)
    return target


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix != ".safetensors":
        return read_torch_archive(path)
    if (size := path.stat().st_size) > limits.WEIGHTS_FILE_BYTES_MAX:
        raise InputError(f"{path}: {size} bytes, over {limits.WEIGHTS_FILE_BYTES_MAX}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as safetensors: {error}") from error


def _load(network: Network, known: ZooEntry, tensors: dict[str, torch.Tensor], path: Path) -> None:
    given = {
        _renamed(known, key): value
        for key, value in tensors.items()
        if not key.startswith(known.replaced)
    }
    wanted = network.backbone.state_dict()
    for key, value in wanted.items():
        # A count of training steps, missing in older files and unused here.
        if key.endswith(_COUNTER) or key.startswith(known.added):
            given.setdefault(key, value)
    lacking, beyond = sorted(wanted.keys() - given), sorted(given.keys() - wanted)
    other = [key for key in wanted if key in given and wanted[key].shape != given[key].shape]
    for fault, keys in (
        ("lacks", lacking),
        ("has unknown", beyond),
        ("has another shape of", other),
    ):
        if keys:
            raise InputError(
                f"{path}: not weights of {known.name}: it {fault} {keys[0]!r} and "
                f"{len(keys) - 1} more; the file needs torchvision's key names"
            )
    network.backbone.load_state_dict(given, strict=True)


def _renamed(known: ZooEntry, key: str) -> str:
    for pattern, instead in known.renamed:
        key = re.sub(pattern, instead, key)
    return key
