"""The files of a bundle, and the checks of each before anything is made of it."""

from __future__ import annotations

import json
import re
import stat
import struct
from pathlib import Path
from typing import Any

from pulmospark.core import limits
from pulmospark.core.errors import BundleError
from pulmospark.core.hashing import bytes_id, file_id

CONFIG, MODEL, METRICS, CARD = "config.json", "model.safetensors", "metrics.json", "README.md"
DISTANCE = "distance.safetensors"
MANIFEST = "manifest.json"
ENGINE = ("engine.json", "engine.xml", "engine.bin")
"""all of them or none"""
_TENSOR_NAME = re.compile(r"[A-Za-z0-9_.]{1,500}")
_TENSOR_KINDS = ("F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL")


def check_tensors(path: Path) -> None:
    """Refuse tensors with unexpected names or dtypes, from the file header only.

    In the safetensors format the header is eight bytes of length, then JSON with the name, dtype
    and shape of each tensor.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
        head = file.read(min(length, limits.CONFIG_FILE_BYTES_MAX + 1))
    if length > limits.CONFIG_FILE_BYTES_MAX or len(head) < length:
        raise BundleError(
            f"{path}: header of {length} bytes is truncated or over the limit of "
            f"{limits.CONFIG_FILE_BYTES_MAX}: get the bundle again"
        )
    for name, facts in json_of(path, head).items():
        if name == "__metadata__":
            continue
        if not _TENSOR_NAME.fullmatch(name):
            raise BundleError(
                f"{path}: {name[:80]!r} is not a valid tensor name: get the bundle again"
            )
        kind = facts.get("dtype") if isinstance(facts, dict) else None
        if kind not in _TENSOR_KINDS:
            raise BundleError(
                f"{path}: {name} has dtype {kind!s:.20}, but must be one of "
                f"{', '.join(_TENSOR_KINDS)}: get the bundle again"
            )


def check_listing(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Refuse a folder that lacks a listed file, or has another.

    Raises:
        BundleError: it is not.
    """
    present = {path.name for path in folder.iterdir()}
    for problem, names in (
        ("is missing", {*files, MANIFEST} - present),
        ("does not belong in a bundle", present - {*files, MANIFEST}),
    ):
        if names:
            raise BundleError(f"{folder / min(names)}: {problem}: get the bundle again")


def check_file(path: Path, facts: dict[str, Any]) -> None:
    """Refuse a file that is not the listed one.

    Raises:
        BundleError: it is not.
    """
    size = _regular_size(path)
    if size != facts["bytes"] or file_id(path) != facts["sha256"]:
        raise BundleError(f"{path}: differs from the manifest: get the bundle again")


def _regular_size(path: Path) -> int:
    """Bytes of a regular file within its limit; links are refused."""
    try:
        facts = path.lstat()
    except OSError as error:
        raise BundleError(
            f"{path}: {error.strerror or error}: not a bundle, or incomplete"
        ) from error
    if not stat.S_ISREG(facts.st_mode):
        raise BundleError(f"{path}: not a regular file: a bundle contains no links or folders")
    known = {
        MODEL: limits.WEIGHTS_FILE_BYTES_MAX,
        DISTANCE: limits.DISTANCE_FILE_BYTES_MAX,
        "engine.bin": limits.WEIGHTS_FILE_BYTES_MAX,
        "engine.xml": limits.ENGINE_XML_BYTES_MAX,
    }
    most = known.get(path.name, limits.CONFIG_FILE_BYTES_MAX)
    if facts.st_size > most:
        raise BundleError(f"{path}: {facts.st_size} bytes, over the limit of {most}")
    return facts.st_size


def bytes_of(path: Path, sha256: str | None = None) -> bytes:
    """Content of a file within its limit; refuses one whose hash is another.

    Raises:
        BundleError: it is not.
    """
    _regular_size(path)
    content = path.read_bytes()
    if sha256 is not None and bytes_id(content) != sha256:
        raise BundleError(f"{path}: changed while it was read: get the bundle again")
    return content


def _not_finite(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def json_of(path: Path, content: bytes) -> dict[str, Any]:
    """Content of a JSON file, an object.

    Raises:
        BundleError: it is not.
    """
    try:
        value = json.loads(content, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON ({error!s:.100}): get the bundle again") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path}: not a JSON object: get the bundle again")
    return value
