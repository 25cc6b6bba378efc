"""Download a file over HTTP: resumable, bounded in size and time, with its SHA-256."""

from __future__ import annotations

import contextlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

import pulmospark
from pulmospark.core import files, limits
from pulmospark.core.errors import PlatformError, UsageError
from pulmospark.core.files import disk_errors
from pulmospark.core.hashing import file_id
from pulmospark.core.locks import wait_for_lock

_BLOCK_BYTES = 1024 * 1024

Progress = Callable[[int, int], None]
"""called with the bytes so far and the total; 0 if the total is unknown"""


@dataclass(frozen=True)
class Bounds:
    """Limits of a download, and what to do where one is reached."""

    bytes_max: int
    seconds_max: float
    bytes_remedy: str = "this is not the file that was expected"
    seconds_remedy: str = "rerun to resume"


def download(
    url: str,
    target: Path,
    bounds: Bounds,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
) -> str:
    """Download a file, resuming an interrupted download.

    The partial file lies next to the target as ``NAME.part``, with the server's ETag in
    ``NAME.part.json``. The download only resumes if the server still has the same version, or
    where the hash will show that it has not. A target that has the expected hash is not
    downloaded again. Of several processes one downloads, and the others wait for it.

    Args:
        url: http or https.
        target: where the complete, checked file appears.
        bounds: most bytes and seconds.
        sha256: expected hash of the content or its first digits, in lower case; ``None``: unknown.
        progress: called with the bytes so far and the total.

    Returns:
        SHA-256 of the content, 64 hexadecimal digits.

    Raises:
        UsageError: the address is neither http nor https.
        PlatformError: no network, no space, too large, too slow, a wrong hash, or a
            redirect that leaves https or http.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise UsageError(f"{url}: only http and https are supported")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        with _alone_on(part):
            if sha256 and target.is_file() and (known := file_id(target)).startswith(sha256):
                part.unlink()
                return known
            return _complete(url, part, target, bounds, sha256, progress)


@contextlib.contextmanager
def _alone_on(part: Path) -> Iterator[None]:
    """Wait until no other process writes a partial file; creates it."""
    while True:
        with part.open("ab") as file:
            wait_for_lock(file)
            # The process that held it may have renamed or removed the file meanwhile.
            if part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat()):
                yield
                return


def _complete(  # noqa: PLR0917 - as `download`
    url: str,
    part: Path,
    target: Path,
    bounds: Bounds,
    sha256: str | None,
    progress: Progress | None,
) -> str:
    mark = part.with_name(f"{part.name}.json")
    try:
        _fill(url, part, mark, bounds, progress, is_checked=sha256 is not None)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        raise _broken(url, getattr(error, "reason", None) or error) from error
    except ConnectionError as error:
        raise _broken(url, error) from error
    digest = file_id(part)
    if sha256 is not None and not digest.startswith(sha256):
        part.unlink()
        mark.unlink(missing_ok=True)
        raise PlatformError(
            f"{url}: the download has SHA-256 {digest}, not {sha256}, and was discarded: run "
            "again; if it remains so, the file has changed"
        )
    mark.unlink(missing_ok=True)
    part.replace(target)
    return digest


def _open_url(request: urllib.request.Request) -> Any:
    """Open a URL; a redirect from https may only lead to https.

    Raises:
        PlatformError: a redirect leads out of https, or to neither http nor https.
        urllib.error.URLError: there is no response, or it is an error.
    """
    opener = urllib.request.build_opener(_Redirects)
    return opener.open(request, timeout=limits.FETCH_SILENCE_S_MAX)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to http and https, and from https only to https."""

    def redirect_request(  # noqa: PLR0917 - urllib's own
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that a redirect leads to.

        Raises:
            PlatformError: it leads elsewhere.
        """
        there = urlsplit(newurl)
        is_secure = urlsplit(req.full_url).scheme == "https"
        if there.scheme not in ({"https"} if is_secure else {"http", "https"}):
            raise PlatformError(
                f"{req.full_url}: redirects to {there.scheme}://{there.hostname}, but only "
                f"{'https' if is_secure else 'http and https'} is followed: anyone could have "
                "sent the content"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _broken(url: str, why: object) -> PlatformError:
    return PlatformError(
        f"{url}: cannot be downloaded ({why}): check the network and run again to resume"
    )


def _fill(
    url: str,
    part: Path,
    mark: Path,
    bounds: Bounds,
    progress: Progress | None,
    *,
    is_checked: bool,
) -> None:
    have, edition = part.stat().st_size, _edition(mark)
    _check_size(url, have, bounds)
    request = urllib.request.Request(
        url,
        # Uncompressed: otherwise length and ranges are not those of the file.
        headers={
            "User-Agent": f"pulmospark/{pulmospark.__version__}",
            "Accept-Encoding": "identity",
        },
    )
    if have and (edition or is_checked):  # without an ETag the hash reveals a mismatch
        request.add_header("Range", f"bytes={have}-")
    if have and edition:
        request.add_header("If-Range", edition)
    until = time.monotonic() + bounds.seconds_max
    try:
        answer = _open_url(request)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # nothing is left to fetch
        raise
    with answer, part.open("r+b") as file:
        start = (
            have if answer.status == HTTPStatus.PARTIAL_CONTENT and _resumes(answer, have) else 0
        )
        etag = answer.headers.get("ETag") or ""
        # A weak ETag (W/) allows different bytes.
        files.write_json(mark, {"edition": "" if etag.startswith("W/") else etag})
        file.seek(start)
        file.truncate()
        _copy(url, answer, file, bounds, until, progress)


def _check_size(url: str, size: int, bounds: Bounds) -> None:
    if size > bounds.bytes_max:
        raise PlatformError(
            f"{url}: {size} bytes, over the limit of {bounds.bytes_max}: {bounds.bytes_remedy}"
        )


def _edition(mark: Path) -> str:
    if not mark.is_file():
        return ""
    record = files.read_json(mark)
    return str(record.get("edition", "")) if isinstance(record, dict) else ""


def _resumes(answer: Any, have: int) -> bool:
    """Whether a partial answer begins where the file ends."""
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _copy(  # noqa: PLR0917 - one loop, and what bounds it
    url: str,
    answer: Any,
    file: BinaryIO,
    bounds: Bounds,
    until: float,
    progress: Progress | None,
) -> None:
    length = answer.headers.get("Content-Length")
    done = file.tell()
    total = done + int(length) if length else 0
    while True:
        _check_size(url, max(done, total), bounds)
        if time.monotonic() > until:
            raise PlatformError(
                f"{url}: {done} bytes in the {bounds.seconds_max / 60:g} minutes allowed: "
                f"{bounds.seconds_remedy}"
            )
        if not (block := answer.read(_BLOCK_BYTES)):
            break
        file.write(block)
        done += len(block)
        if progress is not None:
            progress(done, max(done, total) if total else 0)
    if done < total:
        raise ConnectionError(f"the connection closed after {done} of {total} bytes")
