"""The header of a DICOM file: only an allowlist of attributes is read.

:data:`KEPT` is the list of attributes that are read at all. Everything else (names, dates,
places, private elements, overlays, comments) is passed over in the file and never becomes a
value, so that it cannot get into a table, a log or an error. The identifiers among them leave
this package only as hashes, see ``core.pseudonyms``.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from pulmospark.core import limits
from pulmospark.core.hashing import bytes_id
from pulmospark.core.schemas import Note, RejectReason
from pulmospark.imaging.dicom.elements import LONG_VRS, Buffer, PixelPlace, walk
from pulmospark.imaging.dicom.number_parsing import NoNumberError, numbers
from pulmospark.imaging.dicom.transfer_syntax import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT
from pulmospark.imaging.reject import RefusedError

IDENTIFIERS: Final = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
"""read, and given on as keyed hashes only"""

FACTS: Final = (
    "SOPClassUID",
    "Modality",
    "BodyPartExamined",
    "AnatomicRegionSequence",
    "ImageType",
    "ImageOrientationPatient",
    "PresentationIntentType",
    "PatientAge",
    "PatientSex",
    "InstanceNumber",
    "ViewPosition",
    "ViewCodeSequence",
    "PatientOrientation",
    "PatientOrientationCodeSequence",
    "PatientOrientationModifierCodeSequence",
    "Laterality",
    "ImageLaterality",
    "BurnedInAnnotation",
)
"""read, and turned into a value of a closed list or a number"""

PIXEL_ATTRIBUTES: Final = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PresentationLUTShape",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
"""read to make grey levels of the pixels, which themselves stay where they lie"""

KEPT: Final = (*IDENTIFIERS, *FACTS, *PIXEL_ATTRIBUTES)
"""the keep-list: keywords of all attributes that are read"""

_TAGS: Final = [BaseTag(tag) for tag in map(tag_for_keyword, KEPT) if tag is not None]
FILE_SET_TAGS: Final = (BaseTag(0x00041220), BaseTag(0x00041500))
"""of a DICOMDIR: DirectoryRecordSequence, and ReferencedFileID in its items"""
_PIXEL_GROUP: Final = 0x7FE00008
_PATIENT_ID: Final = BaseTag(0x00100020)
_PREAMBLE: Final = 128
_MARK: Final = b"DICM"
_INFLATE_BYTES: Final = 1 << 20
_KEPT_TAGS: Final = frozenset(_TAGS)


@dataclass(frozen=True)
class Header:
    """A DICOM file, read as far as :data:`KEPT` goes."""

    dataset: Dataset
    syntax: str
    """transfer syntax UID; of a file without a file meta group, what its bytes look like"""
    body: Buffer
    """bytes that hold the data set, inflated where the file is deflated"""
    pixels: PixelPlace | None
    """where in ``body`` the pixels lie; ``None``: there are none"""
    notes: set[Note] = field(default_factory=set)
    """what of it was doubtful, whatever the frame"""

    @property
    def big_endian(self) -> bool:
        """Whether numbers have their high byte first."""
        return self.syntax == BIG_ENDIAN

    def whole(self, keyword: str, default: int | None = None) -> int:
        """A whole number.

        Raises:
            RefusedError: it is missing without a default, or no number.
        """
        values = self.numbers(keyword)
        if not values:
            if default is not None:
                return default
            raise RefusedError(RejectReason.UNREADABLE, f"dicom: {keyword} is missing")
        if len(values) > 1 or values[0] != int(values[0]):
            raise RefusedError(RejectReason.UNREADABLE, f"dicom: {keyword} is no whole number")
        return int(values[0])

    def numbers(self, keyword: str, place: Dataset | None = None) -> tuple[float, ...]:
        """Numbers of an attribute; none where it is missing or empty.

        Args:
            keyword: of the attribute.
            place: where it stands; ``None``: at the root.

        Raises:
            RefusedError: there is a value that is no number.
        """
        try:
            return numbers(self.dataset if place is None else place, keyword, self.notes)
        except NoNumberError as error:
            raise RefusedError(
                RejectReason.UNREADABLE, f"dicom: {keyword} is no number"
            ) from error

    def word(self, keyword: str) -> str:
        """A code string in capitals, the first where there are several; empty where silent.

        It may hold anything: compare it, and never give it on.
        """
        return next(iter(self.words(keyword)), "")

    def words(self, keyword: str) -> tuple[str, ...]:
        """All values of a code string, in capitals; see :meth:`word`."""
        return words_of(self.dataset, keyword)

    def items(self, keyword: str) -> tuple[Dataset, ...]:
        """Items of a sequence; empty if it is missing or not a sequence."""
        return sequence(self.dataset, keyword)

    def group(self, frame: int, group: str, keyword: str) -> Dataset:
        """Where a frame's attribute stands: its own functional group, the shared one, the root."""
        per_frame = self.items("PerFrameFunctionalGroupsSequence")
        shared = self.items("SharedFunctionalGroupsSequence")
        for place in (*per_frame[frame : frame + 1], *shared[:1]):
            for item in sequence(place, group):
                if keyword in item:
                    return item
        return self.dataset


def sequence(dataset: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Items of a sequence; empty if it is missing or not a sequence."""
    items = _value(dataset, keyword)
    try:
        return tuple(item for item in (items or ()) if isinstance(item, Dataset))
    except TypeError:
        return ()


def words_of(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """All values of a code string, in capitals; see :meth:`Header.word`."""
    value = _value(dataset, keyword)
    if value is None:
        return ()
    several = value if not isinstance(value, str) and hasattr(value, "__iter__") else [value]
    return tuple(str(item).strip().upper() for item in several)


def text_of(dataset: Dataset, keyword: str) -> str:
    """An attribute as text, one value; empty if missing or unreadable."""
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip()


def table_data(dataset: Dataset, keyword: str, *, big_endian: bool) -> Any:
    """Data of a table: numbers, or bytes of words with the low byte first, whatever the file's
    order; ``None`` if missing or unreadable."""
    data = _value(dataset, keyword)
    # Numbers (US) were put in order when they were read; bytes (OW) are as they lie in the file.
    if big_endian and isinstance(data, bytes) and dataset[keyword].VR == "OW":
        return little_endian(data)
    return data


def little_endian(words: bytes) -> bytes:
    """Words of 16 bits with their low byte first instead of last; an odd byte is dropped."""
    return np.frombuffer(words[: len(words) // 2 * 2], ">u2").astype("<u2").tobytes()


def read_header(data: bytes) -> Header:
    """Read the kept attributes of a file's bytes, and find its pixels (not decoded).

    Raises:
        RefusedError: the file is cut, damaged, has a header over the limits, or inflates to more
            than ``limits.FILE_BYTES_MAX``.
    """
    start = _PREAMBLE + 4 if data[_PREAMBLE : _PREAMBLE + 4] == _MARK else 0
    syntax, start = file_meta(data, start)
    notes: set[Note] = set()
    body: Buffer = data
    if syntax == DEFLATED:
        body, start = _inflated(memoryview(data)[start:]), 0
    if not syntax:
        syntax = _guessed(data[start : start + 8])
        notes.add(Note.SYNTAX_GUESSED)
    big_endian = syntax == BIG_ENDIAN
    implicit = not big_endian and not _is_explicit(bytes(body[start : start + 8]))
    if implicit != (syntax == IMPLICIT):
        notes.add(Note.ENCODING)
    extent = walk(body, start, implicit=implicit, big_endian=big_endian, kept=_KEPT_TAGS)
    stream = io.BytesIO(body if isinstance(body, bytes) else _copied(body, extent.end))
    stream.seek(start)
    with _parsing("header"):
        dataset = read_dataset(
            stream,
            is_implicit_VR=implicit,
            is_little_endian=not big_endian,
            stop_when=lambda tag, _vr, _length: tag >= _PIXEL_GROUP,
            specific_tags=list(_TAGS),
        )
    return Header(dataset, syntax, body, extent.pixels, notes)


def _copied(body: Buffer, end: int) -> bytes:
    """The header alone: a stream shares the memory of bytes, and not of what was inflated."""
    if end > limits.DICOM_INFLATED_HEADER_BYTES_MAX:
        raise RefusedError(
            RejectReason.TOO_MANY_BYTES,
            f"dicom: {end} bytes of deflated header, over DICOM_INFLATED_HEADER_BYTES_MAX "
            f"({limits.DICOM_INFLATED_HEADER_BYTES_MAX})",
        )
    return bytes(memoryview(body)[:end])


def patient_mark(head: bytes) -> str | None:
    """A hash that identifies a file's patient, to be compared within one process.

    Args:
        head: the first bytes of the file; nothing after the patient's number is read.

    Returns:
        64 hexadecimal digits; ``None`` if there is no patient or the bytes end before it.
    """
    start = _PREAMBLE + 4 if head[_PREAMBLE : _PREAMBLE + 4] == _MARK else 0
    try:
        syntax, start = file_meta(head, start)
        body = head[start:]
        with _parsing("header"):
            if syntax == DEFLATED:
                body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, len(head))
            syntax = syntax or _guessed(body[:8])
            dataset = read_dataset(
                io.BytesIO(body),
                is_implicit_VR=syntax == IMPLICIT,
                is_little_endian=syntax != BIG_ENDIAN,
                stop_when=lambda tag, _vr, _length: tag > _PATIENT_ID,
                specific_tags=[_PATIENT_ID],
            )
    except RefusedError:
        return None
    patient = text_of(dataset, "PatientID")
    return bytes_id(patient.encode("utf-8", "replace")) if patient else None


def file_meta(data: bytes, start: int) -> tuple[str, int]:
    """Transfer syntax and end of the file meta group: always explicit, little-endian.

    Walked by hand, for nothing but the one element is wanted: others hold names of machines.
    """
    at, syntax, count = start, "", 0
    while data[at : at + 2] == b"\x02\x00":
        count += 1
        if count > limits.DICOM_META_ELEMENTS_MAX:
            raise RefusedError(
                RejectReason.TOO_SLOW,
                "dicom: elements in its file meta group, over DICOM_META_ELEMENTS_MAX "
                f"({limits.DICOM_META_ELEMENTS_MAX})",
            )
        long = data[at + 4 : at + 6] in LONG_VRS
        head = 12 if long else 8
        length = int.from_bytes(data[at + head - (4 if long else 2) : at + head], "little")
        if data[at + 2 : at + 4] == b"\x10\x00":
            raw = data[at + head : at + head + min(length, 64)]
            syntax = raw.decode("ascii", "replace").strip("\0 ")
        at += head + length
    return syntax, at


def _guessed(head: bytes) -> str:
    """Transfer syntax of a data set without file meta, detected from its first element."""
    if head[:1] == b"\0":
        return BIG_ENDIAN
    return EXPLICIT if _is_explicit(head) else IMPLICIT


def _is_explicit(head: bytes) -> bool:
    """Whether a data set's first element has a value representation."""
    return head[4:6].isalpha() and head[4:6].isupper()


def _inflated(body: memoryview) -> bytearray:
    """Inflate a deflated data set, to at most ``limits.FILE_BYTES_MAX`` bytes.

    Piece by piece into room that grows, for a single call would hold all of it twice.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    plain, rest = bytearray(), body
    try:
        while not inflater.eof:
            piece = inflater.decompress(rest[:_INFLATE_BYTES], _INFLATE_BYTES)
            taken = min(len(rest), _INFLATE_BYTES) - len(inflater.unconsumed_tail)
            rest = rest[taken:]
            plain += piece
            if len(plain) > limits.FILE_BYTES_MAX:
                raise RefusedError(
                    RejectReason.TOO_MANY_BYTES,
                    f"dicom: inflates to over FILE_BYTES_MAX ({limits.FILE_BYTES_MAX} bytes)",
                )
            if not piece and not taken:
                raise RefusedError(
                    RejectReason.TRUNCATED, "dicom: the deflated data ends too early"
                )
    except zlib.error as error:
        raise RefusedError(RejectReason.UNREADABLE, "dicom: deflated data is damaged") from error
    return plain


def _value(dataset: Dataset, keyword: str) -> Any:
    """An attribute's value; ``None`` where it is missing or cannot be read."""
    try:
        return dataset.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom raises anything, and its words hold values
        return None


@contextmanager
def _parsing(what: str) -> Iterator[None]:
    """Nothing of what pydicom says is given on: its words hold values of attributes."""
    try:
        yield
    except EOFError as error:
        raise RefusedError(RejectReason.TRUNCATED, f"dicom: ends within its {what}") from error
    except Exception as error:
        name = type(error).__name__
        raise RefusedError(RejectReason.UNREADABLE, f"dicom: {what}: {name}") from error
