"""What a file's name says of its content, and what a listing gives of it."""

from __future__ import annotations

from dataclasses import dataclass

IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".png", ".apng", ".bmp", ".dib",
     ".tif", ".tiff", ".btf", ".webp", ".gif", ".dcm", ".dicom", ".ima"}
)  # fmt: skip
"""Files with one of these, in any case, are listed, whatever their content."""

CONTENT_EXTENSIONS = frozenset({"", ".dic", ".dcm30", ".img"})
"""Files with one of these, or a number, are listed if their content is an image: scanners,
archives and ``storescp`` write DICOM files under such names."""

ARCHIVE_LITTER = "__MACOSX"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A listed file."""

    uri: str
    """absolute path; bytes that are not UTF-8 written as ``\\xNN``"""
    parts: tuple[str, ...]
    """folders and file name below the source's folder, as the system gives them"""
    size_bytes: int
    modified_ns: int
    """since 1970, nanoseconds"""
    problem: str | None = None
    """a ``RejectReason``"""


@dataclass(frozen=True, slots=True)
class Glance:
    """Names of some of a folder's entries, sorted, without hidden ones."""

    folders: tuple[str, ...]
    files: tuple[str, ...]


def is_image_name(name: str) -> bool:
    """Whether a file's name has an image extension."""
    dot = name.rfind(".")
    return dot >= 0 and name[dot:].lower() in IMAGE_EXTENSIONS


def may_hold_image(name: str) -> bool:
    """Whether a file's name says nothing about its content, which then has to be read."""
    dot = name.rfind(".")
    end = name[dot:].lower() if dot > 0 else ""
    return end in CONTENT_EXTENSIONS or (end[1:].isascii() and end[1:].isdigit())


def is_hidden(name: str) -> bool:
    """Whether an entry is skipped because of its name."""
    return name.startswith(".") or name == ARCHIVE_LITTER
