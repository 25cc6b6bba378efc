"""ImageNet weights: where they come from, and how they get into a network.

They are looked for in this order: the file or folder that is named; the folder of the
environment variable ``PULMOSPARK_WEIGHTS``; the cache; torchvision's hub, whose file is
verified, read without being run, and kept as safetensors in the cache. A network is never
left at a random start in silence.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from pulmospark.core import limits
from pulmospark.core.content import file_id
from pulmospark.core.errors import EnvironmentProblem, InputError, UsageError
from pulmospark.core.files import disk_errors
from pulmospark.models.hub import Told, fetch
from pulmospark.models.network import Network
from pulmospark.models.torch_archive import read_torch_archive
from pulmospark.models.zoo import ZooEntry, entry

VARIABLE = "PULMOSPARK_WEIGHTS"
"""environment variable: a folder with safetensors files of ImageNet weights"""

_COUNTER = ".num_batches_tracked"


@dataclass(frozen=True)
class WeightsOrigin:
    """What weights a network started from, for the bundle's provenance."""

    file: str
    """name of the file, without its folder"""
    sha256: str
    licence: str | None


def cache_folder() -> Path:
    """Where fetched weights are kept: ``$XDG_CACHE_HOME`` or ``~/.cache``, pulmospark/weights."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG rules: a relative path there is to be ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "pulmospark" / "weights"


def load_imagenet(
    network: Network,
    *,
    source: Path | None = None,
    hub: bool = True,
    told: Told | None = None,
) -> WeightsOrigin:
    """Load ImageNet weights into a network's backbone; its head is left as it is.

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
    _check_pin(known, path, sha256)
    tensors = _read(path)
    _load(network, known, tensors, path)
    return WeightsOrigin(path.name, sha256, known.weights_licence)


def find_weights(
    name: str, *, source: Path | None = None, hub: bool = True, told: Told | None = None
) -> Path:
    """Path of a file with a network's ImageNet weights; fetched where need be.

    Arguments and errors are those of :func:`load_imagenet`.
    """
    known = entry(name)
    if not known.weights and known.weights_url is None:
        raise UsageError(f"{name}: there are no ImageNet weights of it: use weights = 'none'")
    if source is not None:
        return _in_source(known, source)
    named = os.environ.get(VARIABLE)
    if named and not Path(named).is_dir():
        raise EnvironmentProblem(f"{VARIABLE} is {named!r}: no such folder; correct or unset it")
    for folder in filter(None, (Path(named) if named else None, cache_folder())):
        if (found := _in_folder(known, folder)) is not None:
            return found
    return _from_hub(known, hub=hub, told=told)


def _names(known: ZooEntry) -> list[str]:
    converted = [_converted(known.weights_url)] if known.weights_url else []
    return [file.name for file in known.weights] + converted


def _converted(url: str) -> str:
    """Name in the cache of a hub's file; its hash stays in it."""
    return PurePosixPath(url).with_suffix(".safetensors").name


def _in_source(known: ZooEntry, source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise UsageError(f"{source}: no such file or folder of weights")
    if (found := _in_folder(known, source)) is None:
        raise EnvironmentProblem(
            f"{source}: no ImageNet weights of {known.name}: put {' or '.join(_names(known))} "
            "there"
        )
    return found


def _in_folder(known: ZooEntry, folder: Path) -> Path | None:
    return next((path for name in _names(known) if (path := folder / name).is_file()), None)


def _from_hub(known: ZooEntry, *, hub: bool, told: Told | None) -> Path:
    cache = cache_folder()
    advice = (
        f"set {VARIABLE} to a folder with {' or '.join(_names(known))}, or use weights = 'none'"
    )
    if not hub or known.weights_url is None:
        raise EnvironmentProblem(f"{known.name}: no ImageNet weights in {cache}: {advice}")
    try:
        fetched = fetch(known.weights_url, cache, told=told)
    except EnvironmentProblem as error:
        raise EnvironmentProblem(
            f"{known.name}: no ImageNet weights in {cache}, and {error.message}; or {advice}"
        ) from error
    target = cache / _converted(known.weights_url)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    with disk_errors(target):
        try:
            save_file(read_torch_archive(fetched), aside)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    fetched.unlink(missing_ok=True)
    return target


def _check_pin(known: ZooEntry, path: Path, sha256: str) -> None:
    for file in known.weights:
        if path.name == file.name and file.sha256 not in (None, sha256):
            raise InputError(
                f"{path}: SHA-256 {sha256[:16]}..., and {file.sha256 or '':.16}... is that of the "
                "published file: it is damaged; get it again, or give yours another name"
            )


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
    given = {key: value for key, value in tensors.items() if not key.startswith(known.replaced)}
    wanted = network.backbone.state_dict()
    for key, value in wanted.items():
        # A count of training steps, which older files lack and nothing here reads.
        if key.endswith(_COUNTER):
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
                f"{len(keys) - 1} more; give a file with torchvision's key names"
            )
    network.backbone.load_state_dict(given, strict=True)
