"""Addresses of objects: ``s3://bucket/key``, ``gs://bucket/key``, ``abfss://container@account/key``.

A key is taken as it is, as the clouds' own tools do: ``%20`` in it stands for itself, and names
that are no valid part of a URL need no escaping.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator

from pulmospark.core import limits
from pulmospark.core.errors import PulmosparkError, UsageError
from pulmospark.core.locations import local_path, local_text

_SCHEMES = {"s3": "s3", "s3a": "s3", "s3n": "s3", "gs": "gs", "abfs": "abfss", "abfss": "abfss"}
"""scheme as written -> as shown; Hadoop has three for S3, and two for Azure"""

_ADDRESS = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(?:/(.*))?", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_AZURE = re.compile(r"([a-z0-9$][a-z0-9-]{1,62})@([a-z0-9]{3,24})(\.[a-z0-9.-]+)?")


@dataclass(frozen=True, slots=True, order=True)
class StoreUri:
    """The address of an object, or of all objects whose keys begin with ``key``."""

    scheme: str
    """``s3``, ``gs`` or ``abfss``"""
    bucket: str
    """of Azure: ``container@account``, with the host's ending if it was given"""
    key: str
    """without a leading slash; "" is the bucket itself"""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> StoreUri:
        """The address below this one; ``name`` may hold slashes."""
        return StoreUri(self.scheme, self.bucket, f"{self.prefix}{name.lstrip('/')}")

    @property
    def prefix(self) -> str:
        """The key as a folder's: empty, or ending with one slash."""
        return f"{self.key.rstrip('/')}/" if self.key else ""

    @property
    def parent(self) -> StoreUri:
        """The folder around this address; that of the bucket is the bucket itself."""
        return StoreUri(self.scheme, self.bucket, self.key.rstrip("/").rpartition("/")[0])

    @property
    def name(self) -> str:
        """What follows the last slash of the key."""
        return self.key.rstrip("/").rpartition("/")[2]


def is_store_uri(text: str) -> bool:
    """Whether a text is an address in a store that can be opened."""
    match = _ADDRESS.match(text)
    return match is not None and match[1].lower() in _SCHEMES


def place_text(text: str) -> str:
    """A path, pattern or ``file:`` URI as ``core.locations.local_text`` gives it, or an address in
    a store unchanged.

    Raises:
        UsageError: it is an address of another kind.
    """
    return text if is_store_uri(text) else local_text(text)


def parse_uri(text: str, *, error: type[PulmosparkError] = UsageError) -> StoreUri:
    """Read an address.

    Args:
        text: as a user or a sheet gives it.
        error: what to raise; ``InputError`` for a cell of a sheet.

    Raises:
        PulmosparkError: ``error``, where the scheme, the bucket or the key is not valid, or the
            text holds a password.

    Example:
        >>> parse_uri("s3a://hospital/images/a b.png")
        StoreUri(scheme='s3', bucket='hospital', key='images/a b.png')
    """
    match = _ADDRESS.match(text)
    scheme = _SCHEMES.get(match[1].lower()) if match else None
    if match is None or scheme is None:
        raise error(f"{text!r:.200}: not an address of a store: give s3://, gs:// or abfss://")
    bucket, key = match[2], match[3] or ""
    if ":" in bucket:
        # Not shown: what follows the colon is a password.
        raise error(
            f"{scheme}://: holds a user and a password: remove them, and give the credentials "
            "as the cloud's own tools take them (environment, files or roles)"
        )
    valid = _AZURE.fullmatch(bucket) if scheme == "abfss" else _BUCKET.fullmatch(bucket)
    if not valid:
        form = "container@account" if scheme == "abfss" else "the name of a bucket"
        raise error(f"{text!r:.200}: {bucket!r:.80} is not {form}: correct the address")
    if "\0" in key or len(key.encode("utf-8", "surrogatepass")) > limits.STORE_KEY_BYTES_MAX:
        raise error(
            f"{text!r:.200}: a key has at most {limits.STORE_KEY_BYTES_MAX} bytes and no NUL: "
            "correct the address"
        )
    return StoreUri(scheme, bucket, key)


def _checked(value: Any, standard: ValidatorFunctionWrapHandler) -> Any:
    """For pydantic, which reports a ``ValueError`` with the setting's name."""
    if isinstance(value, StoreUri):
        return value
    if not isinstance(value, (str, Path)):
        return standard(value)
    try:
        return place_of_text(str(value))
    except UsageError as error:
        raise ValueError(error.message) from error


def place_of_text(text: str) -> Path | StoreUri:
    """The path of a text, as ``core.locations.local_path`` gives it, or the address in it.

    Raises:
        UsageError: it is an address of another kind, or not valid.
    """
    return parse_uri(text) if is_store_uri(text) else local_path(text)


def below(base: Path | StoreUri, place: Path | StoreUri) -> Path | StoreUri:
    """A place as given, or, where it is a relative path, taken from ``base``.

    Example:
        >>> str(below(parse_uri("s3://hospital/studies"), Path("covid.csv")))
        's3://hospital/studies/covid.csv'
    """
    if isinstance(place, StoreUri):
        return place
    place = place.expanduser()
    if place.is_absolute():
        return place
    return base / place if isinstance(base, Path) else base / str(place)


def _dumped(value: Path | StoreUri) -> Path | str:
    return value if isinstance(value, Path) else str(value)


PlacePath = Annotated[
    Path | StoreUri,
    WrapValidator(_checked),
    PlainSerializer(_dumped),
    WithJsonSchema({"type": "string", "format": "path"}),
]
"""type of a setting that is a path, a ``file:`` URI, or an address in a store"""
