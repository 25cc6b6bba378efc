"""What deltalake needs to reach a table in a store, and what its failures mean."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pulmospark.core import files
from pulmospark.core.errors import PlatformError, SourceUnavailableError
from pulmospark.core.extras import how_to_install
from pulmospark.core.safe_text import first_line
from pulmospark.store.credentials import open_options, plain_http
from pulmospark.store.failures import ConflictError
from pulmospark.store.repeats import BrokenOffError, has_given_up
from pulmospark.store.uri import StoreUri


def storage_options(uri: StoreUri) -> dict[str, str]:
    """As deltalake takes them: what it does not find in the environment itself."""
    if uri.scheme != "s3":
        return {"allow_http": "true"} if plain_http(uri.scheme) else {}
    options: dict[str, Any] = {f"aws_{key}": value for key, value in open_options().items()}
    if plain_http(uri.scheme):
        options["aws_allow_http"] = "true"
    return {**options, "aws_conditional_put": "etag"}


def column_of(added: Any, name: str) -> list[Any]:
    """A column of what deltalake says of a table's files.

    ``pyarrow.table`` takes the whole, but imports pandas first: half a second of a processor.
    """
    values: list[Any] = added.column(name).to_pylist()
    return values


def check_delta(place: object) -> None:
    """Check that deltalake is installed.

    Args:
        place: of the table, for the message.

    Raises:
        PlatformError: it is not.
    """
    try:
        import deltalake  # noqa: F401, PLC0415 - 129 MB, of an extra
    except ImportError as error:
        raise PlatformError(
            f"{place}: versions of Delta tables need deltalake: {how_to_install('store')}"
        ) from error


@contextlib.contextmanager
def delta_errors(place: Path | StoreUri) -> Iterator[None]:
    """Turn deltalake's errors into ours; only that there is no table stays as it is.

    deltalake repeats what a store refused, but nothing whose connection broke. Such a read is
    repeated as all requests are (:func:`pulmospark.store.repeats.repeat`); who commits first asks
    whether it was done, because nobody knows, and repeats it with the same pauses.

    Args:
        place: of the table.

    Raises:
        ConflictError: another writer committed at the same time.
        BrokenOffError: the store's connection broke; a SourceUnavailableError.
        SourceUnavailableError: the store fails.
        PlatformError: the disk fails.
    """
    from deltalake.exceptions import (  # noqa: PLC0415 - 129 MB, of an extra
        CommitFailedError,
        DeltaError,
        TableNotFoundError,
    )

    try:
        with contextlib.nullcontext() if isinstance(place, StoreUri) else files.disk_errors(place):
            yield
    except TableNotFoundError:
        raise
    except CommitFailedError as error:
        raise ConflictError(
            f"{place}: another writer committed at the same time ({first_line(error)}): run the "
            "command again"
        ) from None
    except (DeltaError, OSError) as error:
        message = f"{place}: the table's log: {first_line(error)}"
        if not isinstance(place, StoreUri):
            raise PlatformError(message) from None
        kind = SourceUnavailableError if has_given_up(error) else BrokenOffError
        raise kind(message) from None
