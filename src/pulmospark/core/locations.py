"""Paths as users write them: plain ones and ``file:`` URIs; any other address is refused.

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

from pulmospark.core.errors import EnvironmentProblem, PulmosparkError, UsageError

PathLike = str | os.PathLike[str]
"""a path as Python's own functions take it"""

_SCHEME = re.compile(r"\s*((?:[A-Za-z][A-Za-z0-9+.-]*:)+)/")
"""RFC 3986's scheme and a slash. One slash is enough: Hadoop takes ``hdfs:/x``, and ``Path`` makes
``s3:/x`` of ``s3://x``. Java nests them (``jar:file:/x``)"""

_DRIVE = re.compile(r"\s*[A-Za-z]:/")
"""a drive of Windows: no address, so that whoever looks for the file says that it is not there"""

_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_NOT_IN_A_URI = re.compile(r"[^!-~]|[\"<>\\^`{|}#]")
"""characters that a file URI never holds unescaped (RFC 3986): a text with one was not escaped"""

_HERE = ("", "localhost")
_DBFS = "dbfs:"


def local_path(text: str, *, error: type[PulmosparkError] = UsageError) -> Path:
    """The path that a text names: itself, or that of a ``file:`` URI, percent-decoded.

    The file system is not asked. Both spellings of a URI are read that Spark and Hadoop write:
    ``file:///a%20b`` (``input_file_name``, Delta's log) is escaped and is decoded, and
    ``file:/a b/100%25.png`` (``binaryFile``'s path column) is not and stays as it is. A text that
    could be either is taken for a URI, which it is by RFC 8089.

    Args:
        text: as it was given; a plain path is taken as it is, ``~`` included.
        error: what to raise; :class:`~pulmospark.core.errors.InputError` for a cell of a sheet.

    Raises:
        PulmosparkError: ``error``, for an address elsewhere (``s3://``, ``hdfs:/``, ``https://``,
            ``file://otherhost/``), a URI without a path from the root, or a NUL character.
    """
    if "\0" in text:
        raise error(f"{text!r:.200}: holds a NUL character, which no path has: correct the path")
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
                f"{_shown(text)}: is on the host {_shown(host)}, and only this machine's files "
                "are read and written: mount the folder, and give its path (file:///path)"
            )
        after = "/" + below
    path = "/" + after.lstrip("/")
    if _PERCENT.search(path) and not _NOT_IN_A_URI.search(path):
        raw = unquote_to_bytes(path)
        if b"\0" in raw:
            raise error(f"{_shown(text)}: holds %00, which no path has: correct the path")
        path = raw.decode("utf-8", "surrogateescape")  # as the system spells such a name
    return Path(path)


def local_paths(text: str, *, error: type[PulmosparkError] = UsageError) -> tuple[Path, ...]:
    """Paths that a text may name, the likeliest first, for whoever can see which is there.

    ``file:/a%20b`` is a URI, and what Hadoop writes of a folder that is called ``a%20b``.

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
    """A pattern or path as text: what :func:`local_path` makes of a URI, and else as it is.

    Raises:
        UsageError: as :func:`local_path`.
    """
    return str(local_path(text)) if is_uri(text) or "\0" in text else text


def path_of_variable(name: str) -> Path | None:
    """The path that an environment variable names; ``None``: it is not set, or empty.

    Raises:
        EnvironmentProblem: it names an address elsewhere.
    """
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return local_path(text)
    except UsageError as error:
        raise EnvironmentProblem(f"{name} is {error.message}") from error


def is_uri(text: str) -> bool:
    """Whether a text begins as an address does, ``file:///x`` or ``s3://x``, not as a path."""
    return _scheme(text) is not None


def check_local(path: Path) -> Path:
    """A path that an application gave as a ``Path``, if it names a place on this machine.

    Raises:
        UsageError: it was made of an address elsewhere: ``Path("s3://x")`` is ``s3:/x``.
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
    """The scheme with its colon, lower case; ``None``: the text is a plain path."""
    if (match := _SCHEME.match(text)) is None or _DRIVE.match(text):
        return None
    return match[1].lower()


def _refusal(text: str, scheme: str) -> str:
    if scheme == _DBFS:
        return (
            f"{_shown(text)}: give the path under which Databricks mounts it, /dbfs/... or "
            "/Volumes/..."
        )
    return (
        f"{_shown(text)}: {scheme}// is not supported, only paths of mounted file systems and "
        "file:// URIs: copy or mount it, and give the path (./ in front of a folder that is "
        "really called so)"
    )


def _shown(text: str) -> str:
    """The text at a length that leaves room for what is said about it."""
    return text if len(text) <= 200 else f"{text[:200]}..."
