"""Download of weights files: resumable, bounded in size, verified by hash."""

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
from pulmospark.core.download import open_url
from pulmospark.core.errors import EnvironmentProblem
from pulmospark.core.files import disk_errors
from pulmospark.core.hashing import file_id

_BLOCK_BYTES = 1024 * 1024
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.")


OnProgress = Callable[[int, int], None]
"""called with the bytes downloaded and the total bytes"""


def fetch(url: str, folder: Path, *, on_progress: OnProgress | None = None) -> Path:
    """Download a file into a folder, unless it is already there.

    A partial download is kept as ``NAME.part`` and resumed. Two processes may download the same
    file: both write the same bytes at the same places.

    Args:
        url: http(s); its name ends in the first digits of the content's SHA-256, as
            torchvision's do (``name-b8a52dc0.pth``).
        folder: created if missing.
        on_progress: called with the bytes downloaded and the total bytes.

    Returns:
        Path of the verified file.

    Raises:
        EnvironmentProblem: no network, no space, too large, or a wrong hash.
    """
    name = PurePosixPath(urlsplit(url).path).name
    digits = _HASH_IN_NAME.search(name)
    if urlsplit(url).scheme not in {"https", "http"} or digits is None:
        raise EnvironmentProblem(
            f"{url}: only http(s) files with their hash in the name are supported"
        )
    target, part = folder / name, folder / f"{name}.part"
    if target.is_file():
        return target
    with disk_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        part.touch()
        try:
            _fill(url, part, on_progress)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            raise EnvironmentProblem(
                f"{url}: download failed ({getattr(error, 'reason', None) or error}): "
                "check the network and rerun to resume"
            ) from error
        if not (sha256 := file_id(part)).startswith(digits.group(1)):
            part.unlink(missing_ok=True)
            raise EnvironmentProblem(
                f"{url}: the download has SHA-256 {sha256[:16]}..., but the name says "
                f"{digits.group(1)}: it was deleted; rerun"
            )
        return part.replace(target)


def _fill(url: str, part: Path, on_progress: OnProgress | None) -> None:
    have = part.stat().st_size
    request = urllib.request.Request(
        url, headers={"User-Agent": f"pulmospark/{pulmospark.__version__}"}
    )
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = open_url(request)
    except urllib.error.HTTPError as error:
        # The file is complete; the hash will show whether it is correct.
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return
        raise
    with answer, part.open("r+b") as file:
        start = have if answer.status == HTTPStatus.PARTIAL_CONTENT else 0
        _copy(url, answer, file, start, on_progress)


def _copy(
    url: str,
    answer: Any,
    file: BinaryIO,
    start: int,
    on_progress: OnProgress | None,
) -> None:
    total = start + int(answer.headers.get("Content-Length") or 0)
    done = file.seek(start)
    while True:
        if max(done, total) > limits.WEIGHTS_FILE_BYTES_MAX:
            raise EnvironmentProblem(
                f"{url}: over {limits.WEIGHTS_FILE_BYTES_MAX} bytes: not the expected weights"
            )
        if not (block := answer.read(_BLOCK_BYTES)):
            break
        file.write(block)
        done += len(block)
        if on_progress is not None:
            on_progress(done, max(done, total))
    if done < total:
        raise ConnectionError(f"connection closed at {done} of {total} bytes")
