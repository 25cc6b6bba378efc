"""Paths as users write them: plain ones and ``file:`` URIs; other addresses are refused.

Every path that enters pulmospark as text, from the command line, a settings file, a sheet's
cell, an environment variable or a Spark ML param, goes through :func:`local_path`. Without it
``s3://bucket/x`` would become a folder ``s3:`` below the current one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from pulmospark.core.errors import PlatformError, PulmosparkError, UsageError

PathLike = str | os.PathLike[str]
"""a path as Python's own functions take it"""

_SCHEME = re.compile(r"\s*((?:[A-Za-z][A-Za-z0-9+.-]*:)+)/")
"""RFC 3986's scheme and a slash. One slash is enough: Hadoop takes ``hdfs:/x``, and ``Path`` makes
``s3:/x`` of ``s3://x``. Java nests them (``jar:file:/x``)"""

_DRIVE = re.compile(r"\s*[A-Za-z]:/")
"""a Windows drive: not an address, so the later "no such file" is the right message"""

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_NOT_IN_A_URI = re.compile(r"[^!-~]|[\"<>\\^`{|}#]")
"""characters that a file URI never holds unescaped (RFC 3986): a text with one was not escaped"""

_HERE = ("", "localhost")
_DBFS = "dbfs:"
_HDFS = ("hdfs:", "webhdfs:", "viewfs:")


def local_path(text: str, *, error: type[PulmosparkError] = UsageError) -> Path:
    """The path in a text: itself, or that of a ``file:`` URI, percent-decoded.

    Does not access the file system. Reads both spellings that Spark and Hadoop write:
    ``file:///a%20b`` (``input_file_name``, Delta's log) is escaped and gets decoded, and
    ``file:/a b/100%25.png`` (``binaryFile``'s path column) is not and stays unchanged. An
    ambiguous text counts as a URI, in accordance with RFC 8089.

    Args:
        text: as given; a plain path stays unchanged, including ``~``.
        error: what to raise; :class:`~pulmospark.core.errors.InputError` for a cell of a sheet.

    Raises:
        PulmosparkError: ``error``, for a remote address (``s3://``, ``hdfs:/``, ``https://``,
            ``file://otherhost/``), a URI without a path from the root, or a NUL character.
    """
    if "\0" in text:
        raise error(f"{text!r:.200}: contains a NUL character, invalid in a path: correct it")
    scheme = _scheme(text)
    if scheme is None:
        return Path(text)
    if scheme != "file:":
        raise error(_refusal(text, scheme))
    after = text.lstrip()[len("file:") :]
    if after.startswith("//"):
        host, slash, below = after[2:].partition("/")
        if host.lower() not in _HERE or not slash:
            raise error(
                f"{_shown(text)}: is on the host {_shown(host)}, but only this machine's files "
                "can be used: mount the folder, and give its path (file:///path)"
            )
        after = "/" + below
    path = "/" + after.lstrip("/")
    if _PERCENT.search(path) and not _NOT_IN_A_URI.search(path):
        raw = unquote_to_bytes(path)
        if b"\0" in raw:
            raise error(f"{_shown(text)}: contains %00, invalid in a path: correct it")
        path = raw.decode("utf-8", "surrogateescape")  # as the system spells such a name
    return Path(path)


def local_paths(text: str, *, error: type[PulmosparkError] = UsageError) -> tuple[Path, ...]:
    """Possible paths of a text, the likeliest first; the caller checks which exists.

    ``file:/a%20b`` is a URI, but also what Hadoop writes for a folder called ``a%20b``.

    Raises:
        PulmosparkError: as :func:`local_path`.
    """
    path = local_path(text, error=error)
    if _scheme(text) is None:
        return (path,)
    after = text.lstrip()[len("file:") :]
    unescaped = Path(after)
    return (path,) if after.startswith("//") or path == unescaped else (path, unescaped)


def local_text(text: str) -> str:
    """A pattern or path as text: a URI through :func:`local_path`, else unchanged.

    Raises:
        UsageError: as :func:`local_path`.
    """
    return str(local_path(text)) if is_uri(text) or "\0" in text else text


def path_of_variable(name: str) -> Path | None:
    """The path in an environment variable; ``None``: it is unset or empty.

    Raises:
        PlatformError: it is a remote address.
    """
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return local_path(text)
    except UsageError as error:
        raise PlatformError(f"{name} is {error.message}") from error


def is_uri(text: str) -> bool:
    """Whether a text begins like an address, ``file:///x`` or ``s3://x``, not like a path."""
    return _scheme(text) is not None


def check_local(path: Path) -> Path:
    """A ``Path`` given by an application, if it is on this machine.

    Raises:
        UsageError: it was made from a remote address: ``Path("s3://x")`` is ``s3:/x``.
    """
    return local_path(str(path)) if is_uri(str(path)) else path


def _checked(value: Any, standard: ValidatorFunctionWrapHandler) -> Any:
    """For pydantic, which reports a ``ValueError`` with the setting's name.

    Its own check of a path is for other values only: while it reads JSON it refuses a ``Path``.
    """
    if not isinstance(value, (str, Path)):
        return standard(value)
    try:
        return local_path(str(value))
    except UsageError as error:
        raise ValueError(error.message) from error


LocalPath = Annotated[Path, WrapValidator(_checked)]
"""type of a setting that is a path: plain, or a ``file:`` URI"""


def _scheme(text: str) -> str | None:
    """The scheme with its colon, in lower case; ``None``: the text is a plain path."""
    if (match := _SCHEME.match(text)) is None or _DRIVE.match(text):
        return None
    return match[1].lower()


def _refusal(text: str, scheme: str) -> str:
    if scheme == _DBFS:
        return (
            f"{_shown(text)}: give the path where Databricks mounts it, /dbfs/... or /Volumes/..."
        )
    if scheme in _HDFS:
        return (
            f"{_shown(text)}: {scheme}// is not supported: mount it (NFS gateway, FUSE), and give "
            "the path, or copy it to S3, Azure or Google Cloud (hadoop distcp), and give that "
            "address"
        )
    return (
        f"{_shown(text)}: {scheme}// is not supported, only paths of mounted file systems and "
        "file:// URIs: copy or mount it, and give the path (prefix ./ if a folder really has "
        "this name)"
    )


def _shown(text: str) -> str:
    """The text, shortened to leave room for the message around it."""
    return text if len(text) <= 200 else f"{text[:200]}..."
