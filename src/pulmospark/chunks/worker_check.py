"""Check on the executors that they match the driver."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import stat
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pulmospark
from pulmospark.core import limits
from pulmospark.core.errors import PlatformError, PulmosparkError
from pulmospark.store.store import open_store
from pulmospark.store.uri import is_store_uri, parse_uri

MODULES = (
    "cv2",
    "imagecodecs",
    "numpy",
    "openvino",
    "PIL",
    "psutil",
    "pyarrow",
    "pydantic",
    "pydicom",
    "safetensors",
    "simplejpeg",
)
"""packages that every worker needs; what only networks in torch and the training of one import as
well is named by the task that misses it"""


def python_version() -> str:
    """Of this interpreter: Spark requires the same minor version on the workers."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Expected:
    """The environment that a worker must match.

    Attributes:
        version: of pulmospark.
        python: minor version of Python.
        driver: name of the driver's machine.
        reads: folders, files and objects that must be there; folders hold something.
        token: file or object that the driver wrote into the output's folder; empty: there is none.
    """

    version: str
    python: str
    driver: str
    reads: tuple[str, ...] = ()
    token: str = ""


def expected(reads: tuple[str, ...] = (), token: str = "") -> Expected:
    """The environment that workers of this driver must match."""
    return Expected(pulmospark.__version__, python_version(), platform.node(), reads, token)


def faults(wanted: Expected) -> Iterator[str]:
    """The problems of this process, a line each, starting with the machine's name."""
    host = platform.node()
    install = f"install the driver's there, into {sys.executable}"
    if pulmospark.__version__ != wanted.version:
        yield (
            f"{host}: has pulmospark {pulmospark.__version__}, but the driver ({wanted.driver}) "
            f"{wanted.version}: {install}"
        )
    if python_version() != wanted.python:
        yield (
            f"{host}: has Python {python_version()} ({sys.executable}), but the driver "
            f"({wanted.driver}) {wanted.python}: set PYSPARK_PYTHON to the same"
        )
    lacking = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if lacking:
        yield f"{host}: {sys.executable} lacks {', '.join(lacking)}: {install}"
    for path in wanted.reads:
        if reason := unseen(path):
            remedy = _REACH if is_store_uri(path) else _MOUNT_IMAGES
            driver = f"though the driver ({wanted.driver}) reads it"
            yield f"{host}: {path}: {reason}, {driver}: {remedy}"
    if wanted.token and (reason := unseen(wanted.token) or _unwritable(wanted.token)):
        folder = wanted.token.rpartition("/")[0]
        remedy = _REACH if is_store_uri(folder) else _SHARE_OUTPUT
        driver = f"though the driver ({wanted.driver}) writes there"
        yield f"{host}: {folder}: {reason}, {driver}: {remedy}"


_MOUNT_IMAGES = "mount the images there at the same path, as on every machine of the cluster"
_SHARE_OUTPUT = (
    "--out must be a folder that every machine of the cluster shares and may write to, or an "
    "address in a store"
)
_REACH = "give that machine a way to the store, and credentials"


@functools.lru_cache(maxsize=4)  # once a worker
def check_worker(wanted: Expected) -> None:
    """Check that this process has what it needs before it begins.

    Raises:
        PlatformError: it has not; the first of the faults.
    """
    for line in faults(wanted):
        raise PlatformError(line)


def unseen(path: str, tries: int = limits.READ_TRIES) -> str | None:
    """Why a folder with something in it, a file or an object cannot be read here; ``None``: it
    can."""
    if is_store_uri(path):
        return _unreachable(path)
    reason = None
    for number in range(tries):
        if number:
            time.sleep(limits.READ_PAUSE_S * 4 ** (number - 1))
        try:
            if (reason := _looked_at(path)) is None:
                return None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
    return reason


def _unreachable(address: str) -> str | None:
    uri = parse_uri(address)
    try:
        open_store(uri).head(uri.key)
    except PulmosparkError as error:  # tried several times already
        return error.message
    return None


def _looked_at(path: str) -> str | None:
    mode = os.stat(path).st_mode  # noqa: PTH116
    if stat.S_ISDIR(mode):
        with os.scandir(path) as entries:
            return None if next(entries, None) is not None else "the folder is empty"
    if not stat.S_ISREG(mode):
        return "not a regular file"
    with open(path, "rb") as file:  # noqa: PTH123
        file.read(1)
    return None


def reply_of(token: str) -> str:
    """Name of the file by which this process shows that it writes to the token's folder."""
    return f"{token}.{uuid.uuid4().hex}"


def _unwritable(token: str) -> str | None:
    try:
        if is_store_uri(token):
            uri = parse_uri(reply_of(token))
            open_store(uri).put(uri.key, b"")
        else:
            Path(reply_of(token)).touch(exist_ok=False)
    except PulmosparkError as error:
        return error.message
    except OSError as error:
        return error.strerror or str(error)
    return None
