"""ImageNet weights: where they come from, and how they get into a network.

They are looked for in this order: the file or folder that is named; the folder of the
environment variable ``PULMOSPARK_WEIGHTS``; the cache; torchvision's hub, whose file is
verified, read without being run, and kept as safetensors in the cache. A network is never
left at a random start in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pulmospark.core import limits
from pulmospark.core.content import file_id
from pulmospark.core.errors import EnvironmentProblem, InputError
from pulmospark.core.files import disk_errors, whole_file, write_text
from pulmospark.models.catalogue import entry
from pulmospark.models.hub import Told, fetch
from pulmospark.models.network import Network
from pulmospark.models.torch_archive import read_torch_archive
from pulmospark.models.weights_files import (
    SUM_END,
    VARIABLE,
    cache_folder,
    check_hash,
    file_of,
    find_local,
    nowhere,
)
from pulmospark.models.zoo_entry import ZooEntry

__all__ = ["VARIABLE", "WeightsOrigin", "cache_folder", "find_weights", "load_imagenet"]

_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class WeightsOrigin:
    """What weights a network started from, for the bundle's provenance."""

    file: str
    """name of the file, without its folder"""
    sha256: str
    licence: str | None
    """``None``: of a file that is the user's own"""


def load_imagenet(
    network: Network,
    *,
    source: Path | None = None,
    hub: bool = True,
    told: Told | None = None,
) -> WeightsOrigin:
    """Load ImageNet weights into a network's backbone; its head is left as it is.

    Layers that a paper added to a published backbone stay as they are too.

    Args:
        network: as ``zoo.build`` made it; changed in place.
        source: a file, or a folder with the files that the zoo names; ``None``: see above.
        hub: whether the network may be used.
        told: called with the bytes fetched and the bytes in all.

    Returns:
        Where the weights came from.

    Raises:
        UsageError: the zoo knows no ImageNet weights of this network, or ``source`` is not
            there.
        EnvironmentProblem: the weights are nowhere to be had.
        InputError: the file is damaged, or is no weights of this network.
    """
    known = entry(network.name)
    path = find_weights(network.name, source=source, hub=hub, told=told)
    sha256 = file_id(path)
    check_hash(known, path, sha256)
    _load(network, known, _read(path), path)
    file = file_of(known, path)
    return WeightsOrigin(path.name, sha256, file.licence if file else None)


def find_weights(
    name: str, *, source: Path | None = None, hub: bool = True, told: Told | None = None
) -> Path:
    """Path of a file with a network's ImageNet weights; fetched where need be.

    Arguments and errors are those of :func:`load_imagenet`.
    """
    known = entry(name)
    return find_local(known, source) or _from_hub(known, hub=hub, told=told)


def _from_hub(known: ZooEntry, *, hub: bool, told: Told | None) -> Path:
    file = next((one for one in known.weights if one.url), None)
    if not hub or file is None or file.url is None:
        raise nowhere(known)
    cache = cache_folder()
    try:
        fetched = fetch(file.url, cache, told=told)
    except EnvironmentProblem as error:
        raise nowhere(known, f", and {error.message}; or") from error
    target = cache / file.name
    with disk_errors(target), whole_file(target) as aside:
        save_file(read_torch_archive(fetched), aside)
        write_text(target.with_name(target.name + SUM_END), f"{file_id(aside)}  {file.name}\n")
    fetched.unlink(missing_ok=True)
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
        # A count of training steps, which older files lack and nothing here reads.
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
                f"{path}: no weights of {known.name}: it {fault} {keys[0]!r} and "
                f"{len(keys) - 1} more; give a file with the key names of torchvision's file"
            )
    network.backbone.load_state_dict(given, strict=True)


def _renamed(known: ZooEntry, key: str) -> str:
    for pattern, instead in known.renamed:
        key = re.sub(pattern, instead, key)
    return key
