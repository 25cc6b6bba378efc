"""The inbox and the output of a stream, checked without Spark and without torch."""

from __future__ import annotations

from pathlib import Path

from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.locations import check_local, local_path
from pulmospark.inference.stream.notifications import check_queue
from pulmospark.inference.stream.output import check_free, check_output
from pulmospark.layouts.walk import absolute
from pulmospark.store.uri import StoreUri, is_store_uri, parse_uri

Where = Path | StoreUri


def check_places(
    inbox: str, target: Where, notifications: str | None = None
) -> tuple[Where, Where]:
    """The inbox and the output of a stream: absolute paths, or addresses.

    Args:
        inbox: folder, or its address, that images land in.
        target: folder, or its address, of the output.
        notifications: address of a queue that reports new objects of the inbox.

    Raises:
        UsageError: notifications without an inbox in S3; ``target`` is not a stream's output,
            another stream writes to it, or one folder contains the other.
        InputError: ``inbox`` is not a folder on this machine.
        SourceUnavailableError: a store fails.
    """
    folder = inbox_of(inbox)
    out = target if isinstance(target, StoreUri) else absolute(check_local(target))
    if _contains(folder, out) or _contains(out, folder):
        raise UsageError(
            f"--out {out}: one of output and inbox contains the other: use separate folders"
        )
    if notifications is not None:
        check_queue(notifications, folder)
    check_output(out)
    check_free(out)
    return folder, out


def inbox_of(text: str) -> Where:
    """The folder in a text: an absolute path, or an address.

    Raises:
        UsageError: it is no valid address.
        InputError: it is not a folder on this machine.
    """
    if is_store_uri(text):
        uri = parse_uri(text)
        return StoreUri(uri.scheme, uri.bucket, uri.prefix.rstrip("/"))
    folder = absolute(local_path(text))
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: name the one that images land in")
    return folder


def _contains(folder: Where, other: Where) -> bool:
    if isinstance(folder, Path) and isinstance(other, Path):
        return folder == other or folder in other.parents
    if isinstance(folder, StoreUri) and isinstance(other, StoreUri):
        return folder.bucket == other.bucket and other.prefix.startswith(folder.prefix)
    return False
