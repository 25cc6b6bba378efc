"""DICOM files of ``image_memory``: each transfer syntax and kind of pixels at 100 megapixels."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, generate_uid

from benchmarks.image_memory import Case

EXPLICIT, BIG_ENDIAN, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in (".1", ".2", ".1.99"))
JPEG_XL = "1.2.840.10008.1.2.4.11"
"""what the syntaxes of JPEG XL begin with"""
CR, CT = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.2"
_JPEG_LOSSLESS: dict[str, Any] = {"lossless": True, "predictor": 1}
_Encode = Callable[[NDArray[Any]], bytes | bytearray]


def gradient(side: int, kind: str = "u2", samples: int = 1) -> NDArray[Any]:
    """A slope with waves, (side, side) or (side, side, 3)."""
    depth = 8 if kind.endswith("1") else 12
    rows, columns = np.ogrid[:side, :side]
    grey = ((rows * 3 + columns * 2) // max(1, side // 800) % (1 << depth)).astype(kind)
    if kind.startswith("i"):
        grey -= np.array(1 << (depth - 1), kind)
    return grey if samples == 1 else np.repeat(grey[..., None], 3, axis=2)


def noise(side: int, kind: str = "u2", samples: int = 1) -> NDArray[Any]:
    """What no codec makes smaller."""
    shape = (side, side) if samples == 1 else (side, side, 3)
    return np.random.default_rng(1).integers(0, 256, (*shape, np.dtype(kind).itemsize), np.uint8) \
        .view(kind)[..., 0]  # fmt: skip


def write_dicom(
    path: Path | io.BytesIO,
    pixels: NDArray[Any],
    syntax: str = EXPLICIT,
    frames: list[bytes] | None = None,
    **attributes: Any,
) -> None:
    """Write an image, or the compressed ``frames`` of one."""
    data = Dataset()
    bits = 8 * pixels.dtype.itemsize
    values: dict[str, Any] = {
        "SOPClassUID": CR,
        "SOPInstanceUID": generate_uid(),
        "Modality": "CR",
        "SamplesPerPixel": 3 if pixels.ndim == 3 and pixels.shape[-1] == 3 else 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "PlanarConfiguration": 0,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": 12 if bits == 16 else bits,
        "HighBit": 11 if bits == 16 else bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **attributes,
    }
    for keyword, value in values.items():
        setattr(data, keyword, value)
    if frames is None:
        order: Literal[">", "<"] = ">" if syntax == BIG_ENDIAN else "<"
        data.PixelData = pixels.astype(pixels.dtype.newbyteorder(order), copy=False).tobytes()
        data["PixelData"].VR = "OW" if bits > 8 else "OB"
    else:
        data.PixelData = encapsulate(frames, has_bot=False)
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if syntax.startswith(JPEG_XL):  # younger than pydicom's list: a syntax as long, renamed
        _write_renamed(path, data, syntax)
    else:
        dcmwrite(path, data, enforce_file_format=True)


def _write_renamed(path: Path | io.BytesIO, data: Dataset, syntax: str) -> None:
    stand_in = "1.2.840.10008.1.2.4.201"
    data.file_meta.TransferSyntaxUID = UID(stand_in)
    out = io.BytesIO()
    dcmwrite(out, data, enforce_file_format=True)
    renamed = out.getvalue().replace(stand_in.encode(), syntax.encode(), 1)
    if isinstance(path, Path):
        path.write_bytes(renamed)
    else:
        path.write(renamed)


def rle(frame: NDArray[Any]) -> bytes:
    """PS3.5, Annex G: a segment a byte of each sample, the high one first."""
    planes = frame[None] if frame.ndim == 2 else frame.transpose(2, 0, 1)
    size = frame.dtype.itemsize
    segments = []
    for plane in planes:
        raw = plane.astype(plane.dtype.newbyteorder(">")).tobytes()
        segments += [imagecodecs.packbits_encode(raw[byte::size]) for byte in range(size)]
    padded = [segment + bytes(len(segment) % 2) for segment in segments]
    starts = [64 + sum(map(len, padded[:n])) for n in range(len(padded))]
    words = np.array([len(padded), *starts, *[0] * (15 - len(starts))], "<u4")
    return words.tobytes() + b"".join(padded)


def _compressed(
    path: Path, *, pixels: Callable[[], NDArray[Any]], syntax: str,
    encode: _Encode, **attributes: Any,
) -> None:  # fmt: skip
    image = pixels()
    write_dicom(path, image, f"1.2.840.10008.1.2{syntax}", [bytes(encode(image))], **attributes)


def _native(path: Path, *, pixels: Callable[[], NDArray[Any]], **attributes: Any) -> None:
    write_dicom(path, pixels(), **attributes)


def _palette(path: Path, *, side: int) -> None:
    tables: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [4096, 0, 16]
        tables[f"{colour}PaletteColorLookupTableData"] = (
            np.arange(4096, dtype="<u2") * 16
        ).tobytes()
    write_dicom(path, gradient(side), **tables)


def _slices(path: Path, *, side: int, frames: int) -> None:
    """A CT of many frames that deflates to next to nothing."""
    volume = np.zeros((frames, side, side), np.int16)
    write_dicom(
        path, volume, DEFLATED, NumberOfFrames=frames, Rows=side, Columns=side, Modality="CT",
        SOPClassUID=CT, SamplesPerPixel=1, RescaleIntercept="-1024", RescaleSlope="1",
        BitsStored=16, HighBit=15,
    )  # fmt: skip


def _deflated_header(path: Path, *, size: int) -> None:
    """A header of one private value that inflates to the limit and shows nothing."""
    element = (0x0009).to_bytes(2, "little") + b"\x10\x10UN\0\0" + size.to_bytes(4, "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(element)
    for _ in range(size >> 20):
        body += packer.compress(bytes(1 << 20))
    body += packer.flush()
    syntax = DEFLATED.encode() + bytes(len(DEFLATED) % 2)
    meta = b"\x02\0\x10\0UI" + len(syntax).to_bytes(2, "little") + syntax
    length = b"\x02\0\0\0UL\x04\0" + len(meta).to_bytes(4, "little")
    path.write_bytes(bytes(128) + b"DICM" + length + meta + body)


def cases(side: int) -> Iterator[Case]:
    """One a transfer syntax and kind of pixels."""
    natives = {
        "16 bit": partial(gradient, side),
        "16 bit, signed": partial(gradient, side, "i2"),
        "16 bit, noise": partial(noise, side),
        "8 bit": partial(gradient, side, "u1"),
        "32 bit": partial(gradient, side, "u4"),
    }
    window: dict[str, Any] = {"WindowCenter": 2000, "WindowWidth": 4000}
    for name, pixels in natives.items():
        yield Case(f"dicom native {name}", partial(_native, pixels=pixels))
    yield Case("dicom native windowed", partial(_native, pixels=natives["16 bit"], **window))
    yield Case(
        "dicom native, high byte first",
        partial(_native, pixels=natives["16 bit, signed"], syntax=BIG_ENDIAN),
    )
    rgb = partial(gradient, side, "u1", 3)
    yield Case("dicom native RGB", partial(_native, pixels=rgb, PhotometricInterpretation="RGB"))
    yield Case("dicom native palette", partial(_palette, side=side))
    for name, pixels in natives.items():
        if name != "32 bit":
            yield Case(f"dicom deflated {name}", partial(_native, pixels=pixels, syntax=DEFLATED))
    yield Case("dicom deflated CT of 1,000 frames", partial(_slices, side=side // 20, frames=1000))
    yield Case(
        "dicom deflated private value to the limit", partial(_deflated_header, size=511 << 20)
    )
    yield from _compressed_cases(side)


def _compressed_cases(side: int) -> Iterator[Case]:
    codecs: dict[str, tuple[str, _Encode, tuple[str, ...]]] = {
        "RLE": (".5", rle, ("u1", "u2", "i2", "rgb")),
        "JPEG baseline": (".4.50", imagecodecs.jpeg8_encode, ("u1", "rgb")),
        "JPEG progressive": (
            ".4.50", _jpeg_progressive, ("u1", "rgb")),
        "JPEG lossless": (".4.70", _jpeg_lossless, ("u1", "u2")),
        "JPEG-LS": (".4.80", _unsigned(imagecodecs.jpegls_encode), ("u1", "u2", "i2", "rgb")),
        "JPEG 2000": (
            ".4.90", partial(imagecodecs.jpeg2k_encode, reversible=True, codecformat="j2k"),
            ("u1", "u2", "i2", "rgb")),
        "JPEG XL": (".4.110", _unsigned(_jpegxl), ("u1", "u2", "rgb")),
        "HTJ2K": (
            ".4.201", partial(imagecodecs.htj2k_encode, reversible=True),
            ("u1", "u2", "i2", "rgb")),
    }  # fmt: skip
    for name, (syntax, encode, kinds) in codecs.items():
        for kind in kinds:
            samples, of = (3, "u1") if kind == "rgb" else (1, kind)
            colours: dict[str, Any] = {"PhotometricInterpretation": "RGB"} if kind == "rgb" else {}
            for text, draw in (("", gradient), (" noise", noise)):
                if text and not (name in ("RLE", "JPEG lossless") and kind in ("u2", "rgb")):
                    continue  # wavelets and JPEG-LS take minutes to write what they cannot shrink
                pixels = partial(draw, side, of, samples)
                write = partial(
                    _compressed, pixels=pixels, syntax=syntax, encode=encode, **colours
                )
                yield Case(f"dicom {name} {kind}{text}", write)


def _jpeg_lossless(image: NDArray[Any]) -> bytes:
    bits = 16 if image.dtype.itemsize > 1 else 8
    return bytes(imagecodecs.jpeg8_encode(image, bitspersample=bits, **_JPEG_LOSSLESS))


def _jpeg_progressive(image: NDArray[Any]) -> bytes:
    Image.MAX_IMAGE_PIXELS = None
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", progressive=True)
    return file.getvalue()


def _jpegxl(image: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(image, lossless=True, effort=1))


def _unsigned(encode: _Encode) -> _Encode:
    """Codecs that know no sign are given the bits."""
    return lambda image: encode(image.view(f"u{image.dtype.itemsize}"))
