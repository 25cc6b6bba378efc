"""What a store's failures mean: errors of ours in place of obstore's."""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterator

from pulmospark.core.errors import InputError, PlatformError, SourceUnavailableError
from pulmospark.core.safe_text import first_line
from pulmospark.store.repeats import BrokenOffError, has_given_up
from pulmospark.store.uri import StoreUri

_METADATA_HOSTS = ("169.254.169.254", "metadata.google.internal")
"""asked for a role where no credentials were found"""
_QUERY = re.compile(r"\?[^\s,)]*")
"""of an address: Azure's signatures stand in it"""


class ObjectMissingError(InputError):
    """There is no object with this key."""


class ConflictError(PlatformError):
    """An object is there already, or was changed since it was read: another writer was faster."""


@contextlib.contextmanager
def store_errors(bucket: StoreUri, key: str) -> Iterator[None]:
    """Raise what obstore raises as an error of ours, in one line that names machine and object."""
    from obstore import exceptions  # noqa: PLC0415

    where = StoreUri(bucket.scheme, bucket.bucket, key)
    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError) as error:
        _check_bucket(bucket, error)
        raise ObjectMissingError(f"{where}: no such object") from None
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise ConflictError(f"{where}: was written by another process at the same time") from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise SourceUnavailableError(
            f"{platform.node()}: {where}: the store refuses access ({_reason(error)}): check "
            "the credentials of that machine and their rights"
        ) from None
    except (exceptions.InvalidPathError, ValueError) as error:
        raise InputError(
            f"{where}: {_reason(error)}: such keys cannot be read: rename the object, or name "
            "a folder without it"
        ) from None
    except exceptions.BaseError as error:
        _check_bucket(bucket, error)
        if any(host in str(error) for host in _METADATA_HOSTS):
            raise SourceUnavailableError(
                f"{platform.node()}: {where}: found no credentials in the environment or the "
                "cloud's own files, and this machine has no role: set them up, or "
                "AWS_SKIP_SIGNATURE=true for a public bucket"
            ) from None
        kind = SourceUnavailableError if has_given_up(error) else BrokenOffError
        raise kind(
            f"{platform.node()}: {where}: {_reason(error)}; check that machine's way to the "
            "store, and rerun the command"
        ) from None


def _check_bucket(bucket: StoreUri, error: Exception) -> None:
    # Listing a bucket that is missing is a general error, with the same words in it.
    if any(word in str(error) for word in ("NoSuchBucket", "ContainerNotFound")):
        raise InputError(f"{bucket}: no such bucket") from None


def _reason(error: Exception) -> str:
    """The first line of obstore's message, without queries of addresses."""
    text = first_line(error).partition("<?xml")[0]
    return _QUERY.sub("", text).strip(" :.")[:300]
