"""A file over HTTP: resumed after a break, of bounded size and time, with its SHA-256."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

import pulmospark
from pulmospark.core import files, limits
from pulmospark.core.content import file_id
from pulmospark.core.errors import EnvironmentProblem, UsageError
from pulmospark.core.files import disk_errors

_BLOCK_BYTES = 1024 * 1024

Told = Callable[[int, int], None]
"""is called with the bytes that are there and the bytes in all; 0 where that is not known"""


@dataclass(frozen=True)
class Bounds:
    """What a download may take."""

    bytes_max: int
    seconds_max: float


def download(
    url: str,
    target: Path,
    bounds: Bounds,
    *,
    sha256: str | None = None,
    told: Told | None = None,
) -> str:
    """Fetch a file, going on where an earlier call broke off.

    What came lies beside the target as ``NAME.part``, with the server's mark of its edition
    (ETag) in ``NAME.part.json``. It is only gone on with where the server still has that
    edition: two halves of two editions make no file.

    Args:
        url: http or https.
        target: where the whole, checked file appears.
        bounds: most bytes and seconds.
        sha256: what the content has to hash to; ``None``: it is not known.
        told: called with the bytes there and the bytes in all.

    Returns:
        SHA-256 of the content, 64 hexadecimal digits.

    Raises:
        UsageError: the address is neither http nor https.
        EnvironmentProblem: no network, no space, too large, too slow, another content, or a
            redirect that leaves https or http.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise UsageError(f"{url}: only http and https addresses are fetched")
    part = target.with_name(f"{target.name}.part")
    mark = target.with_name(f"{target.name}.part.json")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        try:
            _fill(url, part, mark, bounds, told, is_checked=sha256 is not None)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
            raise _broken(url, getattr(error, "reason", None) or error) from error
        except ConnectionError as error:
            raise _broken(url, error) from error
        found = file_id(part)
        if sha256 is not None and found != sha256.lower():
            part.unlink(missing_ok=True)
            mark.unlink(missing_ok=True)
            raise EnvironmentProblem(
                f"{url}: what came has SHA-256 {found}, and {sha256.lower()} was asked for: it is "
                "thrown away; run again, or ask for the edition that is there"
            )
        part.replace(target)
        mark.unlink(missing_ok=True)
    return found


def open_url(request: urllib.request.Request) -> Any:
    """The answer to a request; a redirect is followed from https to https alone.

    Raises:
        EnvironmentProblem: a redirect leads out of https, or to neither http nor https.
        urllib.error.URLError: there is no answer, or it is an error.
    """
    opener = urllib.request.build_opener(_Redirects)
    return opener.open(request, timeout=limits.FETCH_SILENCE_S_MAX)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https alone, and from https to https alone."""

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
            EnvironmentProblem: it leads elsewhere.
        """
        there = urlsplit(newurl)
        is_secure = urlsplit(req.full_url).scheme == "https"
        if there.scheme not in ({"https"} if is_secure else {"http", "https"}):
            raise EnvironmentProblem(
                f"{req.full_url}: is redirected to {there.scheme}://{there.hostname}, and only "
                f"{'https' if is_secure else 'http and https'} is followed: what came from there "
                "could be anyone's"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _broken(url: str, why: object) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{url}: cannot be fetched ({why}): check the network and run again; what came so far is "
        "kept"
    )


def _fill(
    url: str, part: Path, mark: Path, bounds: Bounds, told: Told | None, *, is_checked: bool
) -> None:
    have, edition = part.stat().st_size, _edition(mark)
    _check_size(url, have, bounds)
    request = urllib.request.Request(
        url,
        # As it lies there: a packed transfer has neither length nor ranges of the file itself.
        headers={
            "User-Agent": f"pulmospark/{pulmospark.__version__}",
            "Accept-Encoding": "identity",
        },
    )
    if have and (edition or is_checked):  # without a mark of the edition the hash will tell
        request.add_header("Range", f"bytes={have}-")
    if have and edition:
        request.add_header("If-Range", edition)
    until = time.monotonic() + bounds.seconds_max
    try:
        answer = open_url(request)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # nothing is left to fetch
        raise
    with answer, part.open("r+b") as file:
        start = (
            have if answer.status == HTTPStatus.PARTIAL_CONTENT and _goes_on(answer, have) else 0
        )
        etag = answer.headers.get("ETag") or ""
        # A weak mark (W/) says that the bytes may differ.
        files.write_json(mark, {"edition": "" if etag.startswith("W/") else etag})
        _copy(url, answer, file, start, bounds, until, told)


def _check_size(url: str, size: int, bounds: Bounds) -> None:
    if size > bounds.bytes_max:
        raise EnvironmentProblem(
            f"{url}: {size} bytes, over the limit of {bounds.bytes_max}: raise it with --max-gb "
            "where that is right"
        )


def _edition(mark: Path) -> str:
    if not mark.is_file():
        return ""
    told = files.read_json(mark)
    return str(told.get("edition", "")) if isinstance(told, dict) else ""


def _goes_on(answer: Any, have: int) -> bool:
    """Whether a partial answer begins where the file ends."""
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")


def _copy(  # noqa: PLR0917 - one loop, and what bounds it
    url: str,
    answer: Any,
    file: BinaryIO,
    start: int,
    bounds: Bounds,
    until: float,
    told: Told | None,
) -> None:
    length = answer.headers.get("Content-Length")
    total = start + int(length) if length else 0
    done = file.seek(start)
    file.truncate()
    while True:
        _check_size(url, max(done, total), bounds)
        if time.monotonic() > until:
            raise EnvironmentProblem(
                f"{url}: {done} bytes in the {bounds.seconds_max / 60:g} minutes allowed: run "
                "again to go on, or raise --max-minutes"
            )
        if not (block := answer.read(_BLOCK_BYTES)):
            break
        file.write(block)
        done += len(block)
        if told is not None:
            told(done, max(done, total) if total else 0)
    if done < total:
        raise ConnectionError(f"it broke off at {done} of {total} bytes")
