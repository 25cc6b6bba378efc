"""DICOM pixels next to an independent reading: how many files are equal, and what is refused.

And one image in every transfer syntax: see ``dicom_syntaxes``.

Ours come through imagecodecs (libjpeg-turbo, CharLS, OpenJPEG) and numpy. The other reading is
pydicom's, through pylibjpeg (another libjpeg, a Rust RLE decoder), GDCM and Pillow.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder

from benchmarks import dicom_syntaxes
from benchmarks.common import Options, Report, data_folder, scratch
from benchmarks.dicom_syntaxes import Difference
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.dicom.header import read_header
from pulmospark.imaging.dicom.pixel_data import stored_values
from pulmospark.imaging.dicom.pixel_format import check_pixels, pixel_form
from pulmospark.imaging.dicom.pydicom_logging import quiet
from pulmospark.imaging.image import images_from_bytes
from pulmospark.imaging.reject import RefusedError

PLUGINS = ("gdcm", "pylibjpeg", "pillow")
LOSSY = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
"""JPEG with a cosine transform: decoders may round it to the grey level beside"""
ROUNDING = 1


@dataclass(frozen=True)
class Reading:
    """One file read twice."""

    name: str
    pixels: str
    """``equal``, ``no reading`` (no other decoder opens it), ``differs``, or the reason why
    its pixels are refused"""
    ingest: str
    """``image``, ``slices``, or the reason of its row in the rejects table"""
    detail: str = ""


def bundled_files() -> list[Path]:
    """The DICOM files that lie in pydicom's wheel; nothing is fetched."""
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    return sorted(path for path in folder.rglob("*") if path.is_file() and _is_test_image(path))


def _is_test_image(path: Path) -> bool:
    return path.suffix in ("", ".dcm") and path.name not in ("README", "DICOMDIR")


def compare(path: Path) -> Reading:
    """Read a file both ways."""
    data = path.read_bytes()
    found = images_from_bytes(data, IngestSettings(size=64))
    if isinstance(found, Rejected):
        ingest, detail = found.reason.value, found.detail
    else:
        ingest, detail = ("image" if len(found) == 1 else "slices"), ""
    return Reading(path.name, _pixels(data), ingest, detail)


def first_frame(data: bytes) -> NDArray[Any]:
    """Stored values of a file's first frame, as pulmospark reads them."""
    with quiet():
        header = read_header(data)
        return stored_values(header, pixel_form(header, least_side=1), 0)[0]


def _pixels(data: bytes) -> str:
    """Stored values of all frames, whatever the modality and however small."""
    try:
        with quiet():
            header = read_header(data)
            check_pixels(header)
            form = pixel_form(header, least_side=1)
            ours = [stored_values(header, form, frame) for frame in range(form.frames)]
    except RefusedError as refusal:
        return refusal.reason.value
    lossy = header.syntax in LOSSY
    seen = False
    for theirs in _others(data, header.syntax):
        seen = True
        if len(theirs) == len(ours) and all(
            _same(mine, space, other, lossy)
            for (mine, space), other in zip(ours, theirs, strict=True)
        ):
            return "equal"
    return "differs" if seen else "no reading"


def _others(data: bytes, syntax: str) -> Iterator[list[NDArray[Any]]]:
    """Frames as pydicom gives them, by each of its plug-ins that can."""
    with quiet():
        told = pydicom.dcmread(io.BytesIO(data), force=True)
        if "TransferSyntaxUID" not in told.file_meta:
            told.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
        decoder = get_decoder(told.file_meta.TransferSyntaxUID)
        for plugin in PLUGINS if decoder.is_encapsulated else ("",):
            try:
                frames = [frame.copy() for frame, _ in decoder.iter_array(
                    told, raw=True, decoding_plugin=plugin
                )]  # fmt: skip
            except Exception:  # noqa: BLE001 - the plug-in does not take this file
                continue
            yield frames


def _same(mine: NDArray[Any], space: str, other: NDArray[Any], lossy: bool) -> bool:
    if space == "Y":
        other = other[..., 0]
    if mine.shape != other.shape:
        return False
    # What is signed, and how wide, is the same only as numbers.
    apart = np.abs(mine.astype(np.int64) - other.astype(np.int64))
    return bool(apart.max() <= (ROUNDING if lossy else 0))


def measure(options: Options) -> Report:
    """Compare pydicom's bundled files, and the public DICOM folders where they are."""
    found = [("pydicom", path) for path in bundled_files()]
    data = data_folder(options)
    for name in ("dicom-cxr", "ct-dicom") if data else ():
        found += [(name, path) for path in sorted((data or Path()).rglob(f"{name}/**/*.dcm"))]
    readings = [(group, compare(path)) for group, path in found]
    rows = []
    for group in dict.fromkeys(group for group, _ in readings):
        of_group = [reading for name, reading in readings if name == group]
        rows += [[group, *row] for row in _counted(of_group)]
    with scratch(options) as folder:
        depths = (8, 12) if options.small else dicom_syntaxes.DEPTHS
        apart = list(
            dicom_syntaxes.differences(folder if dicom_syntaxes.has_dcmtk() else None, depths)
        )
    rows += _by_syntax(apart)
    return Report(
        name="dicom",
        title="DICOM files: stored pixels beside another reading, and what ingest makes of them",
        head=["files", "what", "outcome", "number"],
        rows=rows,
        notes=[
            "no reading: no other decoder opens the file; lossy JPEG may differ by one level",
            "written by: one image of 8 to 16 bits, signed and unsigned; how many kinds have the "
            "uncompressed one's grey, and the largest mean difference of a kind's pixels",
        ],
        figures={
            "files": [{"group": group, **vars(reading)} for group, reading in readings],
            "syntaxes": [vars(difference) for difference in apart],
        },
    )


def _by_syntax(apart: list[Difference]) -> list[list[str]]:
    rows = []
    for key in dict.fromkeys((difference.writer, difference.name) for difference in apart):
        of_key = [
            difference for difference in apart if (difference.writer, difference.name) == key
        ]
        equal = sum(difference.is_equal for difference in of_key)
        worst = max(difference.mean for difference in of_key)
        rows.append([
            f"written by {key[0]}", key[1], f"grey as uncompressed: {equal} of {len(of_key)}",
            f"{worst:.2f} of {of_key[0].limit}",
        ])  # fmt: skip
    return rows


def _counted(readings: list[Reading]) -> list[list[str]]:
    pixels = Counter(reading.pixels for reading in readings)
    ingest = Counter(reading.ingest for reading in readings)
    reasons = {reason.value for reason in RejectReason}
    return [
        *(["pixels", f"refused: {name}" if name in reasons else name, f"{count}"]
          for name, count in sorted(pixels.items())),
        *(["ingest", f"reject: {name}" if name in reasons else name, f"{count}"]
          for name, count in sorted(ingest.items())),
    ]  # fmt: skip
