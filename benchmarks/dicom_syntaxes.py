"""One image in each transfer syntax: is its grey that of the uncompressed one?

Written by imagecodecs, and by DCMTK's programs where they are installed; 8 to 16 bits, signed and
unsigned. A lossless one may differ by 0.5 grey levels of 255 on average, a lossy one by 2.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from benchmarks.image_memory_dicom import BIG_ENDIAN, DEFLATED, EXPLICIT, rle, write_dicom
from pulmospark.imaging.decode import Decoded, decode

IMPLICIT: Final = "1.2.840.10008.1.2"
LOSSLESS_MAX: Final = 0.5
LOSSY_MAX: Final = 2.0
DEPTHS: Final = (8, 9, 10, 12, 14, 16)
DCMTK: Final = ("dcmconv", "dcmcrle", "dcmcjpeg", "dcmcjpls")
"""DCMTK's programs that write transfer syntaxes"""
_UID: Final = "1.2.840.10008.1.2"

_DCMTK_COMMANDS: Final = {
    "explicit": ("dcmconv", "+te"),
    "implicit": ("dcmconv", "+ti"),
    "high byte first": ("dcmconv", "+tb"),
    "deflated": ("dcmconv", "+td"),
    "RLE": ("dcmcrle",),
    "JPEG lossless, first-order": ("dcmcjpeg", "+e1"),
    "JPEG lossless": ("dcmcjpeg", "+el"),
    "JPEG baseline": ("dcmcjpeg", "+eb", "+q", "95"),
    "JPEG extended": ("dcmcjpeg", "+ee", "+q", "95"),
    "JPEG-LS": ("dcmcjpls", "+el"),
    "JPEG-LS, cooked": ("dcmcjpls", "+el", "+pc"),
    "JPEG-LS near-lossless": ("dcmcjpls", "+en", "+md", "2"),
}


@dataclass(frozen=True)
class Variant:
    """The image in another transfer syntax."""

    name: str
    data: bytes
    is_lossy: bool = False

    @property
    def limit(self) -> float:
        """Grey levels by which it may differ on average."""
        return LOSSY_MAX if self.is_lossy else LOSSLESS_MAX


@dataclass(frozen=True)
class Difference:
    """How far a variant is from the uncompressed image."""

    writer: str
    name: str
    kind: str
    mean: float
    """absolute, of all pixels, grey levels; infinite where it is refused"""
    limit: float
    detail: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether it is within its limit."""
        return self.mean <= self.limit


def image(bits: int, *, signed: bool, side: int = 96) -> NDArray[Any]:
    """(side, side) smooth values over the whole range of so many bits, without symmetry."""
    rows, columns = np.mgrid[:side, :side]
    waves = np.sin((columns + 7) / 19) * np.cos((rows - 3) / 23) + columns / (2 * side)
    span = (waves - waves.min()) / np.ptp(waves)
    values = np.rint(span * (2**bits - 1)).astype(np.int64) - (2 ** (bits - 1) if signed else 0)
    stored: NDArray[Any] = values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    return stored


def file_of(
    pixels: NDArray[Any], bits: int, syntax: str = EXPLICIT, frame: bytes | None = None,
    **attributes: Any,
) -> bytes:  # fmt: skip
    """The image's file, with a window over all values."""
    out = io.BytesIO()
    signed = pixels.dtype.kind == "i"
    write_dicom(
        out, pixels, syntax, None if frame is None else [frame],
        BitsStored=bits, HighBit=bits - 1,
        WindowCenter=str(0 if signed else 2 ** (bits - 1)), WindowWidth=str(2**bits),
        **{"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", **attributes},
    )  # fmt: skip
    return out.getvalue()


def codec_variants(pixels: NDArray[Any], bits: int) -> Iterator[Variant]:
    """What imagecodecs and pydicom write."""
    own = f"u{pixels.dtype.itemsize}"
    signed = pixels.dtype.kind == "i"
    whole = pixels.view(own)
    used = whole & np.array((1 << bits) - 1, own)
    for name, syntax in (("implicit", IMPLICIT), ("high byte first", BIG_ENDIAN),
                         ("deflated", DEFLATED)):  # fmt: skip
        yield Variant(name, file_of(pixels, bits, syntax))
    lossless: dict[str, tuple[str, Callable[[], bytes | bytearray]]] = {
        "RLE": (".5", lambda: rle(pixels)),
        "RLE, used bits": (".5", lambda: rle(used)),
        "JPEG lossless": (".4.57", lambda: _jpeg(used, bits, lossless=True, predictor=4)),
        "JPEG lossless, first-order": (
            ".4.70", lambda: _jpeg(used, bits, lossless=True, predictor=1)),
        "JPEG lossless, all bits": (
            ".4.70", lambda: _jpeg(whole, 8 * whole.itemsize, lossless=True, predictor=1)),
        "JPEG-LS": (".4.80", lambda: imagecodecs.jpegls_encode(used)),
        "JPEG-LS, all bits": (".4.80", lambda: imagecodecs.jpegls_encode(whole)),
        "JPEG 2000": (".4.90", lambda: _jpeg2000(pixels, bits, reversible=True)),
        "JPEG 2000, all bits": (".4.90", lambda: _jpeg2000(pixels, None, reversible=True)),
        "JPEG XL": (".4.110", lambda: _jpegxl(used, bits, lossless=True)),
        "HTJ2K": (".4.201", lambda: imagecodecs.htj2k_encode(pixels, reversible=True)),
    }  # fmt: skip
    lossy: dict[str, tuple[str, Callable[[], bytes | bytearray]]] = {
        "JPEG-LS near-lossless": (".4.81", lambda: imagecodecs.jpegls_encode(used, level=1)),
        "JPEG 2000, lossy": (".4.91", lambda: _jpeg2000(pixels, bits, level=60)),
        "JPEG XL, lossy": (".4.112", lambda: _jpegxl(used, bits, level=97)),
        "HTJ2K, lossy": (
            ".4.203", lambda: imagecodecs.htj2k_encode(pixels, reversible=False, level=0.0005)),
    }  # fmt: skip
    if signed:  # what is lossy has to know where values end: it would mix -1 with the highest
        del lossy["JPEG-LS near-lossless"], lossy["JPEG XL, lossy"]
    elif bits == 8:
        lossy["JPEG baseline"] = (".4.50", lambda: imagecodecs.jpeg8_encode(pixels, level=95))
    elif bits <= 12:
        lossy["JPEG extended"] = (".4.51", lambda: _jpeg(pixels, 12, level=97))
    for kinds, is_lossy in ((lossless, False), (lossy, True)):
        for name, (syntax, encode) in kinds.items():
            yield Variant(name, file_of(pixels, bits, _UID + syntax, bytes(encode())), is_lossy)


def _jpeg(values: NDArray[Any], bits: int, **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(values, bitspersample=max(bits, 8), **options))


def _jpeg2000(values: NDArray[Any], bits: int | None, **options: Any) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(values, bitspersample=bits, codecformat="j2k", **options)
    )


def _jpegxl(values: NDArray[Any], bits: int, **options: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(values, bitspersample=bits, **options))


def has_dcmtk() -> bool:
    """Whether all of :data:`DCMTK` are installed."""
    return all(map(shutil.which, DCMTK))


def dcmtk_variants(data: bytes, folder: Path) -> Iterator[Variant]:
    """What DCMTK's programs make of an uncompressed file.

    A program that refuses the kind of pixels (JPEG baseline of 16 bits) gives none.
    """
    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(data)
    for name, (program, *options) in _DCMTK_COMMANDS.items():
        target.unlink(missing_ok=True)
        command = [program, *options, str(source), str(target)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0 and target.is_file():
            lossy = "near" in name or "baseline" in name or "extended" in name
            yield Variant(name, target.read_bytes(), lossy)


def differences(folder: Path | None, depths: tuple[int, ...] = DEPTHS) -> Iterator[Difference]:
    """Each variant against the uncompressed image.

    Args:
        folder: for DCMTK's files; ``None``: leave it out.
        depths: bits.
    """
    for bits in depths:
        for signed in (False, True):
            pixels = image(bits, signed=signed)
            plain = file_of(pixels, bits)
            kind = f"{bits} bit, {'signed' if signed else 'unsigned'}"
            for variant in codec_variants(pixels, bits):
                yield _difference("imagecodecs", kind, plain, variant)
            if folder is not None:
                for variant in dcmtk_variants(plain, folder):
                    yield _difference("DCMTK", kind, plain, variant)


def _difference(writer: str, kind: str, plain: bytes, variant: Variant) -> Difference:
    ours, theirs = decode(plain, at_least=32), decode(variant.data, at_least=32)
    if not isinstance(ours, Decoded) or not isinstance(theirs, Decoded):
        detail = "" if isinstance(theirs, Decoded) else theirs.detail
        return Difference(writer, variant.name, kind, float("inf"), variant.limit, detail)
    apart = np.abs(ours.grey.astype(np.float64) - theirs.grey).mean()
    return Difference(writer, variant.name, kind, float(apart), variant.limit, theirs.notes or "")
