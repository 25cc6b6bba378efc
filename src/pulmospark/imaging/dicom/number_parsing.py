"""Numbers of a DICOM header: parsed as written, or detected as unreadable."""

from __future__ import annotations

import re
from typing import Any, Final, cast

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from pulmospark.core.schemas import Note

_MAGNITUDE_MAX: Final = 1e30
"""above it a number is a slip; sums of such would overflow float32"""
_TEXTS: Final = frozenset({"DS", "IS", "LO", "SH", "CS", "ST", "LT", "UN", "UT", "UC"})
_THOUSANDS: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_PADDING: Final = " \0\t\r\n"


class NoNumberError(ValueError):
    """The value of an attribute is not a number."""


def numbers(dataset: Dataset, keyword: str, notes: set[Note]) -> tuple[float, ...]:
    """Numbers of an attribute with one or several values; none where it is missing or empty.

    Args:
        dataset: where it stands.
        keyword: of the attribute.
        notes: gets :attr:`Note.DECIMAL_COMMA` where ``-1024,0`` stands for -1024, though PS3.5,
            6.2 knows the point alone. ``1,024`` may be either, and is no number.

    Raises:
        NoNumberError: there is a value that is no finite number.
    """
    tag = tag_for_keyword(keyword)
    if tag is None or tag not in dataset:
        return ()
    # The annotated return type of pydicom omits the element that was not read yet.
    element = cast("DataElement | RawDataElement", dataset.get_item(tag))
    if isinstance(element, RawDataElement) and (element.VR or "DS") in _TEXTS:
        text = _text_of(element)
        if text is not None:
            return _parsed(text, notes)
    try:
        value = dataset[tag].value
    except Exception as error:  # pydicom raises anything, and its words hold values
        raise NoNumberError(keyword) from error
    return _values(value, keyword, notes)


def _text_of(element: RawDataElement) -> str | None:
    """The text of an attribute that was not read yet; ``None``: it is binary."""
    if element.VR is None and dictionary_VR(element.tag) not in _TEXTS:
        return None
    raw = element.value or b""
    return raw.decode("ascii", "replace") if isinstance(raw, bytes) else None


def _parsed(text: str, notes: set[Note]) -> tuple[float, ...]:
    if not text.strip(_PADDING):
        return ()
    return tuple(_number(part.strip(_PADDING), notes) for part in text.split("\\"))


def _number(text: str, notes: set[Note]) -> float:
    point = text.count(",") == 1 and "." not in text and not _THOUSANDS.fullmatch(text)
    try:
        value = float(text.replace(",", ".") if point else text)
    except ValueError as error:
        raise NoNumberError("no number") from error
    # float() reads more than the standard writes.
    if "_" in text or not abs(value) < _MAGNITUDE_MAX:
        raise NoNumberError("no number")
    if point:
        notes.add(Note.DECIMAL_COMMA)
    return value


def _values(value: Any, keyword: str, notes: set[Note]) -> tuple[float, ...]:
    if value is None or (isinstance(value, str | bytes) and not value):
        return ()
    if isinstance(value, str):
        return _parsed(value, notes)
    if isinstance(value, bytes):  # of a kind that pydicom did not parse
        return tuple(
            float(number) for number in np.frombuffer(value[: len(value) // 2 * 2], "<u2")
        )
    several = value if hasattr(value, "__iter__") else [value]
    try:
        values = tuple(float(number) for number in several)
    except (TypeError, ValueError, OverflowError) as error:
        raise NoNumberError(keyword) from error
    if not all(abs(number) < _MAGNITUDE_MAX for number in values):
        raise NoNumberError(keyword)
    return values
