"""DICOM files drawn for tests: every attribute can be told, nothing of them is a real image."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, generate_uid

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
CLASSES = {"CR": "1.2.840.10008.5.1.4.1.1.1", "CT": "1.2.840.10008.5.1.4.1.1.2"}
"""SOP classes: computed radiography, and CT"""
RLE = "1.2.840.10008.1.2.5"


def _rle(frame: NDArray[Any]) -> bytes:
    """PS3.5, Annex G: a segment a byte of the samples, the high one first."""
    size = frame.dtype.itemsize
    planes = frame.astype(frame.dtype.newbyteorder(">")).tobytes()
    packed = [imagecodecs.packbits_encode(planes[byte::size]) for byte in range(size)]
    segments = [one + bytes(len(one) % 2) for one in packed]
    starts = [64 + sum(map(len, segments[:n])) for n in range(size)]
    return struct.pack("<16I", size, *starts, *[0] * (15 - size)) + b"".join(segments)


ENCODERS: dict[str, Any] = {
    RLE: _rle,
    "1.2.840.10008.1.2.4.50": lambda a: imagecodecs.jpeg8_encode(a, level=95),
    "1.2.840.10008.1.2.4.70": lambda a: imagecodecs.jpeg8_encode(
        a, lossless=True, predictor=1, bitspersample=12 if a.dtype == np.uint16 else 8
    ),
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode,
    "1.2.840.10008.1.2.4.90": lambda a: imagecodecs.jpeg2k_encode(
        a, reversible=True, codecformat="j2k"
    ),
}


def values(number: int = 0, side: int = 64, bits: int = 12) -> NDArray[np.unsignedinteger]:
    """(side, side) stored values, smooth, without symmetry."""
    rows, columns = np.mgrid[:side, :side]
    waves = np.sin((columns + 7 * number) / 9) * np.cos((rows - number) / 13)
    top = 2**bits - 1
    return np.asarray((waves + 1) / 2 * top, np.uint16 if bits > 8 else np.uint8)


def dataset(pixels: NDArray[Any], **attributes: Any) -> Dataset:
    """A CR image of 12 or 8 bits; attributes by keyword, ``None`` leaves one out."""
    bits = 8 * pixels.dtype.itemsize
    told: dict[str, Any] = {
        "SOPClassUID": CLASSES.get(attributes.get("Modality", "CR"), CLASSES["CR"]),
        "SOPInstanceUID": generate_uid(entropy_srcs=[pixels.tobytes().hex()[:64]]),
        "Modality": "CR",
        "SamplesPerPixel": 1 if pixels.ndim == 2 or pixels.shape[-1] != 3 else 3,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[-2] if pixels.shape[-1] != 3 else pixels.shape[-3],
        "Columns": pixels.shape[-1] if pixels.shape[-1] != 3 else pixels.shape[-2],
        "BitsAllocated": bits,
        "BitsStored": 12 if bits == 16 else bits,
        "HighBit": 11 if bits == 16 else bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **attributes,
    }
    made = Dataset()
    for keyword, value in told.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def file_of(
    made: Dataset, pixels: NDArray[Any], syntax: str = EXPLICIT, *, loose: bool = False
) -> bytes:
    """The file's bytes; ``pixels`` has the frames first where there are several.

    ``loose``: values are written that the standard forbids.
    """
    frames = int(made.get("NumberOfFrames", 1))
    each = pixels if frames > 1 else pixels[None]
    encoder = ENCODERS.get(syntax)
    if encoder is not None:
        made.PixelData = encapsulate([encoder(frame) for frame in each])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
    else:
        kind = each.dtype.newbyteorder(">" if syntax == BIG_ENDIAN else "<")
        made.PixelData = each.astype(kind).tobytes()
        made["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.file_meta.SourceApplicationEntityTitle = "ZQCANARY7"
    out = io.BytesIO()
    mode = pydicom_config.IGNORE if loose else pydicom_config.RAISE
    with writing(mode):
        dcmwrite(out, made, enforce_file_format=True)
    return out.getvalue()


@contextmanager
def writing(mode: int) -> Iterator[None]:
    before = pydicom_config.settings.writing_validation_mode
    pydicom_config.settings.writing_validation_mode = mode
    try:
        yield
    finally:
        pydicom_config.settings.writing_validation_mode = before


def image(number: int = 0, syntax: str = EXPLICIT, **attributes: Any) -> bytes:
    """A CR image of 64 x 64 and 12 bits."""
    pixels = values(number)
    return file_of(dataset(pixels, **attributes), pixels, syntax)


def as_file(data: bytes) -> io.BytesIO:
    """What pydicom reads from."""
    return io.BytesIO(data)


def body_of(data: bytes) -> bytes:
    """A file without preamble and file meta group, as old writers left it."""
    told = dcmread(io.BytesIO(data))
    return data[132 + 12 + told.file_meta.FileMetaInformationGroupLength :]


def report() -> bytes:
    """A structured report: no pixels."""
    made = dataset(values(), Modality="SR", Rows=None, Columns=None)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    out = io.BytesIO()
    dcmwrite(out, made, enforce_file_format=True)
    return out.getvalue()


def sample(syntax: str) -> bytes:
    """A CR image of 12 bits, of 8 where the syntax has no more."""
    pixels = values(0, bits=8 if syntax.endswith(".50") else 12)
    return file_of(dataset(pixels), pixels, syntax)
