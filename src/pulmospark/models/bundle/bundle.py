"""The model bundle: a folder with a trained network and everything needed to use it.

    config.json        architecture, classes, input, temperature, operating points, provenance
    model.safetensors  the network's tensors
    distance.safetensors  statistics of the training images' deep features (optional)
    engine.json, engine.xml, engine.bin  the network in the form that the engine runs (optional)
    metrics.json       the evaluation
    README.md          the model card
    manifest.json      SHA-256 and length of each of the others

The model id is a hash of what predictions depend on, ``config.json`` and
``model.safetensors``; adding an evaluation to a bundle does not change it. The engine's form is
derived from these two, and rebuilt where it does not fit the installed engine.

Reading a bundle executes nothing from it: files are verified before the network is built. A
changed byte, an extra or missing file, or a link is refused.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from safetensors import SafetensorError

from pulmospark.config.validation import validation_line
from pulmospark.core import limits
from pulmospark.core.errors import BundleError, UsageError
from pulmospark.core.files import whole_folder, write_json, write_text
from pulmospark.core.hashing import bytes_id, file_id, value_id
from pulmospark.core.locations import check_local
from pulmospark.core.store_uri import StoreUri
from pulmospark.models.bundle.card import CardFacts, render_card
from pulmospark.models.bundle.config import BundleConfig, BundleOperatingPoint
from pulmospark.models.bundle.feature_distance import FeatureDistance
from pulmospark.models.bundle.files import (
    CARD,
    CONFIG,
    DISTANCE,
    ENGINE,
    MANIFEST,
    METRICS,
    MODEL,
    bytes_of,
    check_file,
    check_listing,
    check_tensors,
    json_of,
)
from pulmospark.models.zoo.catalogue import check_size
from pulmospark.store.folders import fetch_folder
from pulmospark.store.store import in_parallel, is_there

if TYPE_CHECKING:
    import torch

    from pulmospark.models.zoo.network import Network

__all__ = [
    "Bundle",
    "BundleConfig",
    "BundleOperatingPoint",
    "CardFacts",
    "read_bundle",
    "write_bundle",
]

_FILES = (CONFIG, METRICS, MODEL, CARD)
_OPTIONAL = (DISTANCE, *ENGINE)
_WITHOUT_ENGINE = 2
"""format of a bundle without these files"""


@dataclass(frozen=True)
class Bundle:
    """A bundle, read and verified."""

    folder: Path
    config: BundleConfig
    metrics: dict[str, Any]
    model_id: str
    """hash of configuration and tensors; see above"""
    model_sha256: str
    engine_sha256: tuple[str, ...] = ()
    """of the files of ``ENGINE``; empty: there are none"""

    def network(self) -> Network:
        """Build the network, in evaluation mode.

        Raises:
            BundleError: the tensors do not fit this network, or changed since the bundle was
                read.
        """
        # Inside: seconds and hundreds of MB, which scoring is spared.
        import torch  # noqa: PLC0415
        from safetensors.torch import load  # noqa: PLC0415

        from pulmospark.models.zoo.networks import build  # noqa: PLC0415

        path = self.folder / MODEL
        content = path.read_bytes()
        if bytes_id(content) != self.model_sha256:
            raise BundleError(f"{path}: changed since it was read: get the bundle again")
        config = self.config
        network = build(config.model, len(config.classes), mean=config.mean, std=config.std)
        try:
            tensors = load(content)
            for name, value in tensors.items():
                if not bool(torch.isfinite(value).all()):
                    raise BundleError(f"{path}: {name} is not finite: get the bundle again")
            network.load_state_dict(tensors, strict=True)
        except (SafetensorError, RuntimeError, ValueError) as error:
            first = " ".join(str(error).split())[: limits.DETAIL_CHARS_MAX]
            raise BundleError(f"{path}: not the tensors of a {config.model}: {first}") from error
        return network.eval()

    def distance(self) -> FeatureDistance | None:
        """Read the statistics of the training images; ``None`` if there are none.

        Raises:
            BundleError: they changed since the bundle was read, or belong to another network.
        """
        content = self.distance_bytes()
        if content is None:
            return None
        return FeatureDistance.from_bytes(content, str(self.folder / DISTANCE))

    def distance_bytes(self) -> bytes | None:
        """Content of the file that :meth:`distance` reads."""
        facts = self.config.distance
        if facts is None:
            return None
        return bytes_of(self.folder / DISTANCE, facts.sha256)

    def engine_files(self) -> dict[str, bytes] | None:
        """Content of the files of ``ENGINE``, by name; ``None`` if there are none.

        Raises:
            BundleError: they changed since the bundle was read.
        """
        if not self.engine_sha256:
            return None
        named = zip(ENGINE, self.engine_sha256, strict=True)
        return {name: bytes_of(self.folder / name, sha256) for name, sha256 in named}


def write_bundle(
    folder: Path,
    network: Network,
    config: BundleConfig,
    metrics: dict[str, Any],
    card_facts: CardFacts,
    *,
    distance: bytes | None = None,
    engine: Mapping[str, bytes] | None = None,
) -> str:
    """Write a bundle atomically, replacing an older one.

    Args:
        folder: of the bundle.
        network: from ``zoo.build``.
        config: its configuration.
        metrics: the evaluation, as a JSON value.
        card_facts: contents of the model card beyond ``config``.
        distance: file content of the statistics described by ``config.distance``.
        engine: content of the files of ``ENGINE``, by name; ``None``: the first to score with the
            bundle converts the network.

    Returns:
        The model id.

    Raises:
        UsageError: ``folder`` is not empty and not a bundle, or ``config`` does not describe
            ``network``.
        BundleError: a tensor is not finite.
        PlatformError: no space, or no right to write there.
    """
    if folder.exists() and not (folder / MANIFEST).is_file() and _has_content(folder):
        raise UsageError(f"{folder}: not empty, and not a bundle: choose another folder")
    _check_described(network, config)
    if (config.distance and config.distance.sha256) != (distance and bytes_id(distance)):
        raise UsageError("the configuration describes other statistics of the training images")
    if engine and sorted(engine) != sorted(ENGINE):
        raise UsageError(f"engine files are {sorted(engine)}, but must be {sorted(ENGINE)}")
    from safetensors.torch import save_file  # noqa: PLC0415 - see Bundle.network

    tensors = _finite_tensors(network)
    with whole_folder(folder) as aside:
        write_json(aside / CONFIG, config.model_dump(mode="json"))
        write_json(aside / METRICS, metrics)
        save_file(tensors, aside / MODEL)
        # safetensors creates files readable by the owner only, ignoring the umask.
        (aside / MODEL).chmod(stat.S_IMODE((aside / CONFIG).stat().st_mode))
        write_text(aside / CARD, render_card(config, card_facts))
        if distance is not None:
            (aside / DISTANCE).write_bytes(distance)
        for name, content in (engine or {}).items():
            (aside / name).write_bytes(content)
        listing = {
            name: {"bytes": (aside / name).stat().st_size, "sha256": file_id(aside / name)}
            for name in (*_FILES, *_OPTIONAL)
            if (aside / name).is_file()
        }
        write_text(aside / MANIFEST, _manifest_text(listing, _version_of(listing)))
    return _model_id(listing)


def _finite_tensors(network: Network) -> dict[str, torch.Tensor]:
    import torch  # noqa: PLC0415 - see Bundle.network

    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    for key, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise BundleError(f"{key}: not finite: the training diverged; lower the learning rate")
    return tensors


def bundle_folder(folder: Path | StoreUri) -> Path:
    """The bundle folder: the folder itself, or the bundle of a run folder.

    One in a store is copied to this machine's cache once.

    Raises:
        UsageError: it is a remote address of another kind.
        InputError: nothing is at the address, or more than a bundle.
        SourceUnavailableError: the store fails.
    """
    if isinstance(folder, StoreUri):
        return _fetched(folder)
    folder = check_local(folder).expanduser().absolute()
    inside = folder / "bundle"
    is_run = not (folder / MANIFEST).exists() and (inside / MANIFEST).is_file()
    return inside if is_run else folder


def _fetched(uri: StoreUri) -> Path:
    inside = uri / "bundle"
    is_bundle, has_bundle = in_parallel(is_there, (uri / MANIFEST, inside / MANIFEST))
    is_run = has_bundle and not is_bundle
    return fetch_folder(
        inside if is_run else uri,
        files_max=limits.STORE_BUNDLE_FILES_MAX,
        bytes_max=limits.STORE_BUNDLE_BYTES_MAX,
    )


def read_bundle(folder: Path | StoreUri) -> Bundle:
    """Read and verify a bundle; the network is built by :meth:`Bundle.network`.

    If the bundle is replaced while reading, it is read again. ``folder`` may be a run folder that
    contains a bundle, on this machine or in a store.

    Raises:
        UsageError: ``folder`` is a remote address of another kind, such as ``hdfs://...``.
        InputError: nothing is at its address in a store.
        SourceUnavailableError: the store fails.
        BundleError: it is missing, damaged, incomplete, has extra files, or a newer format.
    """
    folder = bundle_folder(folder)
    for _ in range(limits.BUNDLE_READ_TRIES):
        before = _identity(folder)
        try:
            return _read(folder)
        except BundleError:
            if _identity(folder) == before:
                raise  # the bundle was not replaced
    return _read(folder)


def _identity(folder: Path) -> tuple[int, ...] | None:
    try:
        facts = folder.stat()
    except OSError:
        return None
    # Including the times: inode numbers are reused.
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns


def _read(folder: Path) -> Bundle:
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder; specify a bundle folder")
    text = bytes_of(folder / MANIFEST).decode("utf-8", errors="replace")
    listing = _listed_files(folder, text)
    check_listing(folder, listing)
    for name in listing:
        check_file(folder / name, listing[name])
    config = _read_config(folder / CONFIG, listing[CONFIG]["sha256"])
    check_tensors(folder / MODEL)
    _check_distance(folder, config, listing)
    metrics = json_of(folder / METRICS, bytes_of(folder / METRICS, listing[METRICS]["sha256"]))
    return Bundle(
        folder,
        config,
        metrics,
        _model_id(listing),
        listing[MODEL]["sha256"],
        tuple(listing[name]["sha256"] for name in ENGINE if name in listing),
    )


def _check_described(network: Network, config: BundleConfig) -> None:
    check_size(config.model, config.input_size)
    actual = (network.name, network.classes)
    if actual != (described := (config.model, len(config.classes))):
        raise UsageError(
            f"the configuration describes {described[0]} with {described[1]} classes, but the "
            f"network is {actual[0]} with {actual[1]}"
        )
    if (network.channel_mean, network.channel_std) != (config.mean, config.std):
        raise UsageError("mean and std in the configuration differ from the network's")


def _has_content(folder: Path) -> bool:
    return not folder.is_dir() or any(folder.iterdir())


def _model_id(files: dict[str, dict[str, Any]]) -> str:
    return value_id([files[CONFIG]["sha256"], files[MODEL]["sha256"]])


def _version_of(files: dict[str, Any]) -> int:
    """The first format with these files, so that older versions read what they can."""
    return limits.BUNDLE_FORMAT_VERSION if ENGINE[0] in files else _WITHOUT_ENGINE


def _manifest_text(files: dict[str, Any], version: int) -> str:
    value = {"format_version": version, "files": files}
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _listed_files(folder: Path, text: str) -> dict[str, dict[str, Any]]:
    value = json_of(folder / MANIFEST, text.encode())
    _check_version(folder / MANIFEST, value)
    files = value.get("files")
    # Serialised again it must be identical, or a changed byte could go unnoticed.
    if (
        not isinstance(files, dict)
        or {*files} - {*_OPTIONAL} != {*_FILES}
        or len({*files} & {*ENGINE}) not in {0, len(ENGINE)}
        or not all(
            isinstance(facts, dict)
            and sorted(facts) == ["bytes", "sha256"]
            and type(facts["bytes"]) is int
            and isinstance(facts["sha256"], str)
            for facts in files.values()
        )
        or type(version := value.get("format_version")) is not int
        or (version == limits.BUNDLE_FORMAT_VERSION) != (ENGINE[0] in files)
        or _manifest_text(files, version) != text
    ):
        raise BundleError(
            f"{folder / MANIFEST}: not as written by pulmospark: get the bundle again"
        )
    return files


def _check_version(path: Path, value: dict[str, Any]) -> None:
    version = value.get("format_version")
    if type(version) is int and version > limits.BUNDLE_FORMAT_VERSION:
        raise BundleError(
            f"{path}: bundle format {version}, but this pulmospark reads up to "
            f"{limits.BUNDLE_FORMAT_VERSION}: install a newer pulmospark"
        )


def _check_distance(folder: Path, config: BundleConfig, files: dict[str, dict[str, Any]]) -> None:
    """Refuse statistics of training images that the configuration does not describe."""
    described = config.distance.sha256 if config.distance else None
    if described != (files[DISTANCE]["sha256"] if DISTANCE in files else None):
        raise BundleError(
            f"{folder / DISTANCE}: not the file that {CONFIG} describes: get the bundle again"
        )


def _read_config(path: Path, sha256: str) -> BundleConfig:
    value = json_of(path, bytes_of(path, sha256))
    _check_version(path, value)
    try:
        return BundleConfig.model_validate(value)
    except ValidationError as error:
        raise BundleError(f"{path}: {validation_line(error)}: get the bundle again") from error
