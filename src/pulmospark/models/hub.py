"""Fetches a file of weights: resumed after a break, of bounded size, checked by its hash."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import pulmospark
from pulmospark.core import limits
from pulmospark.core.content import file_id
from pulmospark.core.download import open_url
from pulmospark.core.errors import EnvironmentProblem
from pulmospark.core.files import disk_errors

_BLOCK_BYTES = 1024 * 1024
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")


Told = Callable[[int, int], None]
"""is called with the bytes that are there and the bytes in all"""


def fetch(url: str, folder: Path, *, told: Told | None = None) -> Path:
    """Fetch a file into a folder, or take it from there where it already is.

    What came before a break stays beside it as ``NAME.part`` and is not fetched again. Two
    processes may fetch the same file: both write the same bytes at the same places.

    Args:
        url: http(s); its name ends in the first digits of the content's SHA-256, as
            torchvision's do (``name-b8a52dc0.pth``).
        folder: made where it is not.
        told: called with the bytes there and the bytes in all.

    Returns:
        Path of the whole, verified file.

    Raises:
        EnvironmentProblem: no network, no space, too large, or not what its name says.
    """
    name = PurePosixPath(urlsplit(url).path).name
    digits = _HASH_IN_NAME.search(name)
    if urlsplit(url).scheme not in {"https", "http"} or digits is None:
        raise EnvironmentProblem(
            f"{url}: only http(s) files with their hash in the name are taken"
        )
    target, part = folder / name, folder / f"{name}.part"
    if target.is_file():
        return target
    with disk_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        part.touch()
        try:
            _fill(url, part, told)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            raise EnvironmentProblem(
                f"{url}: cannot be fetched ({getattr(error, 'reason', None) or error}): "
                "check the network and run again; what came so far is kept"
            ) from error
        if not (found := file_id(part)).startswith(digits.group(1)):
            part.unlink(missing_ok=True)
            raise EnvironmentProblem(
                f"{url}: what came has SHA-256 {found[:16]}..., and its name says "
                f"{digits.group(1)}: it is thrown away; run again"
            )
        return part.replace(target)


def _fill(url: str, part: Path, told: Told | None) -> None:
    have = part.stat().st_size
    request = urllib.request.Request(
        url, headers={"User-Agent": f"pulmospark/{pulmospark.__version__}"}
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = open_url(request)
    except urllib.error.HTTPError as error:
        # Nothing is left to fetch; whether it is the right thing the hash will tell.
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return
        raise
    with answer, part.open("r+b") as file:
        start = have if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
        _copy(url, answer, file, start, told)


def _copy(
    url: str,
    answer: Any,
    file: BinaryIO,
    start: int,
    told: Told | None,
) -> None:
    total = start + int(answer.headers.get("Content-Length") or 0)
    done = file.seek(start)
    while True:
        if max(done, total) > limits.WEIGHTS_FILE_BYTES_MAX:
            raise EnvironmentProblem(
                f"{url}: over {limits.WEIGHTS_FILE_BYTES_MAX} bytes: not the weights it should be"
            )
        if not (block := answer.read(_BLOCK_BYTES)):
            break
        file.write(block)
        done += len(block)
        if told is not None:
            told(done, max(done, total))
    if done < total:
        raise ConnectionError(f"it broke off at {done} of {total} bytes")
