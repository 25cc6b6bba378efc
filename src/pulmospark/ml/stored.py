"""Saving to and loading from addresses in stores, for which Spark itself would need jars.

The objects have the names and contents that Spark's own writer gives files, so that a saved folder
may be copied between a store and a disk.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, TypeVar, cast

from pyspark.ml.param import Params
from pyspark.ml.util import (
    DefaultParamsReadable,
    DefaultParamsReader,
    DefaultParamsWritable,
    DefaultParamsWriter,
    MLWriter,
)
from pyspark.sql import SparkSession

from pulmospark.core import limits
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.store_uri import StoreUri, is_store_uri, parse_uri
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.folders import upload
from pulmospark.store.store import open_store

Stage = TypeVar("Stage", bound=Params)

_METADATA = "metadata/part-00000.txt"
_SUCCESS = "metadata/_SUCCESS"
_PART = "metadata/part-"


def save_stage(
    stage: Params,
    uri: StoreUri,
    session: SparkSession,
    files: dict[str, Path] | None = None,
    *,
    overwrite: bool,
) -> None:
    """Write a stage's params, and files, below an address; the params last.

    Args:
        stage: to save.
        uri: of the folder.
        session: whose Spark's version is noted.
        files: name below the folder -> file on this machine.
        overwrite: replace what is there; only a saved stage is replaced.

    Raises:
        UsageError: something is there, and ``overwrite`` is false; or it is no saved stage.
        SourceUnavailableError: the store fails.
    """
    store = open_store(uri)
    there = [stored.uri.key[len(uri.prefix) :] for stored in store.list(uri.prefix)]
    if there and not overwrite:
        raise UsageError(f"{uri}: is not empty: call write().overwrite(), or name another")
    if there and not any(name.startswith(_PART) for name in there):
        raise UsageError(f"{uri}: is not empty, and no saved stage ({there[0]!r:.100})")
    # The params first: what has none is not loaded.
    for name in sorted(there, key=lambda name: not name.startswith(_PART)):
        store.delete((uri / name).key)
    upload(uri, [(path, (uri / name).key) for name, path in (files or {}).items()])
    text = DefaultParamsWriter._get_metadata_to_save(stage, cast(Any, session))
    store.put((uri / _METADATA).key, f"{text}\n".encode())
    store.put((uri / _SUCCESS).key, b"")


def load_metadata(uri: StoreUri, kind: type[Params]) -> dict[str, Any]:
    """The params that were saved below an address.

    Raises:
        InputError: nothing was saved there, or another class.
        SourceUnavailableError: the store fails.
    """
    store = open_store(uri)
    parts = [stored.uri.key for stored in store.list((uri / _PART).key)]
    if not parts:
        raise InputError(f"{uri}: contains no saved {kind.__name__}: check the address")
    with contextlib.suppress(ObjectMissingError):
        text, _ = store.read(sorted(parts)[0], limits.CONFIG_FILE_BYTES_MAX)
        metadata: dict[str, Any] = DefaultParamsReader._parseMetaData(text.decode())
        if metadata["class"] == f"{kind.__module__}.{kind.__qualname__}":
            return metadata
        raise InputError(f"{uri}: contains a {metadata['class']}, not a {kind.__name__}")
    raise InputError(f"{uri}: was deleted while it was read")


class StoredParams(DefaultParamsReadable[Any], DefaultParamsWritable):
    """Mixin for stages that consist of params, saved also to addresses in stores."""

    def write(self) -> MLWriter:
        """Returns a writer; call ``overwrite()`` to replace a saved stage."""
        return _Writer(cast(Params, self))

    @classmethod
    def read(cls) -> DefaultParamsReader[Any]:
        """Returns a reader."""
        return _Reader(cls)


class _Writer(DefaultParamsWriter):
    def save(self, path: str) -> None:
        if not is_store_uri(path):
            super().save(path)
            return
        save_stage(
            self.instance, parse_uri(path), self.sparkSession, overwrite=self.shouldOverwrite
        )


class _Reader(DefaultParamsReader[Any]):
    def load(self, path: str) -> Any:
        if not is_store_uri(path):
            return super().load(path)
        kind = cast(Any, self.cls)
        metadata = load_metadata(parse_uri(path), kind)
        stage = kind()
        stage._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(stage, metadata)
        return stage
