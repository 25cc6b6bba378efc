"""DICOM files drawn for tests: every attribute can be told, nothing of them is a real film."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, generate_uid

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
ENCODERS: dict[str, Any] = {
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
    """A CR film of 12 or 8 bits; attributes by keyword, ``None`` leaves one out."""
    bits = 8 * pixels.dtype.itemsize
    told: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
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


def file_of(made: Dataset, pixels: NDArray[Any], syntax: str = EXPLICIT) -> bytes:
    """The file's bytes; ``pixels`` has the frames first where there are several."""
    frames = int(made.get("NumberOfFrames", 1))
    each = pixels if frames > 1 else pixels[None]
    encoder = ENCODERS.get(syntax)
    if encoder is not None:
        made.PixelData = encapsulate([encoder(frame) for frame in each])
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
    else:
        order = ">" if syntax == BIG_ENDIAN else "<"
        made.PixelData = each.astype(each.dtype.newbyteorder(order)).tobytes()
        made["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    out = io.BytesIO()
    dcmwrite(out, made, enforce_file_format=True)
    return out.getvalue()


def film(number: int = 0, syntax: str = EXPLICIT, **attributes: Any) -> bytes:
    """A CR film of 64 x 64 and 12 bits."""
    pixels = values(number)
    return file_of(dataset(pixels, **attributes), pixels, syntax)
