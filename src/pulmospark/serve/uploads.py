"""The files of a request: those of its form, and those in its zip archives, one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from pulmospark.core import serve_limits
from pulmospark.core.archive import Entries
from pulmospark.core.errors import InputError
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.rejection import Rejected, rejected
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.results import shown_name

_ZIP = b"PK\x03\x04"


@dataclass(frozen=True, eq=False)
class Uploaded:
    """One file, or the reason why it could not be taken from its archive."""

    name: str
    """for display only"""
    data: bytes
    rejected: Rejected | None = None


async def form_files(request: Request) -> list[UploadFile]:
    """The files of a multipart form.

    Raises:
        ServiceError: it is malformed, has none, or too many.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise ServiceError(
            415,
            "send the images as files of a multipart form (multipart/form-data), field 'files'",
        )
    try:
        form = await request.form(
            max_files=serve_limits.SERVE_FILES_MAX, max_fields=serve_limits.SERVE_FIELDS_MAX
        )
    except (MultiPartException, HTTPException) as error:
        detail = getattr(error, "message", None) or getattr(error, "detail", "")
        raise ServiceError(400, f"the multipart form cannot be read: {detail}") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise ServiceError(400, "the form has no file: send one or more as field 'files'")
    return files


async def uploaded(files: Sequence[UploadFile]) -> AsyncIterator[Uploaded]:
    """The files one after the other; those of an archive in its order.

    Raises:
        ServiceError: there are more than ``serve_limits.SERVE_FILES_MAX`` with those in archives.
    """
    count = 0
    room = serve_limits.SERVE_UNPACKED_BYTES_MAX
    for file in files:
        head = await file.read(len(_ZIP))
        await file.seek(0)
        if head != _ZIP:
            count += 1
            yield Uploaded(shown_name(file.filename), await file.read())
            continue
        async for entry in _unpacked(file, serve_limits.SERVE_FILES_MAX - count, room):
            count += 1
            room -= len(entry.data)
            yield entry


async def _unpacked(file: UploadFile, files_max: int, room: int) -> AsyncIterator[Uploaded]:
    name = shown_name(file.filename)
    try:
        entries = await run_in_threadpool(_opened, file.file, name, files_max, room)
        while (entry := await run_in_threadpool(entries.read_next)) is not None:
            yield Uploaded(shown_name(entry[0]), entry[1])
    except InputError as error:
        yield Uploaded(name, b"", rejected(RejectReason.UNREADABLE, f"zip: {error.message}"))


def _opened(file: BinaryIO, name: str, files_max: int, bytes_max: int) -> Entries:
    return Entries(file, name, files_max=files_max, bytes_max=bytes_max)
