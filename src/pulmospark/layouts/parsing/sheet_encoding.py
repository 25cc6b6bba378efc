"""The encoding of a metadata sheet, and the lines before its header."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from pulmospark.core.errors import UsageError

_BLOCK_BYTES = 1024 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # Before UTF-16's, of which UTF-32's little-endian mark is a continuation.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NUL_SHARE = 0.3
"""of the bytes at odd or even places: in UTF-16 without a mark, Latin text has zeros at nearly all
places of one kind"""
_NUL_BYTES = 4096
_LINE_END = re.compile(r"\r\n|\r|\n")
_DELIMITER_LINE = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE | re.DOTALL)
"""written and read by Excel before the header"""


def encoding_of(path: Path) -> str:
    """UTF-8, UTF-16 or UTF-32 if valid, else Windows-1252, else latin-1.

    Windows-1252 has the dashes and quotation marks that Excel writes, where latin-1 has control
    characters. Every file is valid latin-1.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_NUL_BYTES)
    if (marked := _marked(head)) is not None:
        return marked
    return next((name for name in ("utf-8", "cp1252") if _is(path, name)), "latin-1")


def encoding_of_head(head: bytes) -> str:
    """As :func:`encoding_of`, from the head of the file; its last character may be incomplete."""
    if (marked := _marked(head)) is not None:
        return marked
    for name in ("utf-8", "cp1252"):
        try:
            codecs.getincrementaldecoder(name)().decode(head)
        except UnicodeDecodeError:
            continue
        return name
    return "latin-1"


def known_encoding(name: str) -> str:
    """The encoding that the user gave.

    Raises:
        UsageError: Python does not know it.
    """
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"options: unknown encoding {name!r}: use a Python encoding such as utf-8, cp1252, "
            "cp1251, gb18030 or shift_jis"
        ) from error


def lines_of(head: bytes, encoding: str) -> list[str]:
    """The lines of a file's head; the last may be incomplete."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    return _LINE_END.split(text)


def before_header(lines: list[str]) -> tuple[int, str | None]:
    """Number of lines before the header, and the delimiter that one of them declares.

    These are blank lines and one like ``sep=;``. If no header follows, all lines count.
    """
    delimiter = None
    for number, line in enumerate(lines):
        if delimiter is None and (match := _DELIMITER_LINE.fullmatch(line)):
            delimiter = match[1]
        elif line.strip():
            return number, delimiter
    return len(lines), delimiter


def _marked(head: bytes) -> str | None:
    """The encoding of a byte-order mark, or UTF-16 detected from its zero bytes."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    pairs = len(head) // 2
    if pairs and head[1::2].count(0) > _NUL_SHARE * pairs and not head[::2].count(0):
        return "utf-16-le"
    if pairs and head[::2].count(0) > _NUL_SHARE * pairs and not head[1::2].count(0):
        return "utf-16-be"
    return None


def _is(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        try:
            while block := file.read(_BLOCK_BYTES):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True
