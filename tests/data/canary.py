"""DICOM files with a canary in every attribute that can hold one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from imaging import dicoms
from pulmospark.imaging.dicom.header import PIXEL_ATTRIBUTES

CANARY = "ZQCANARY7"
DATE, TIME, UID, NUMBER = "18570613", "231847.918273", "1.2.826.0.998877665544", "98765.4321"
WHOLE = "987651234"
TRACES = (CANARY, DATE, TIME, UID, NUMBER, WHOLE)
"""what may be found nowhere"""

_BY_VR: dict[str, Any] = {
    **dict.fromkeys(("AE", "CS", "SH", "LO", "LT", "ST", "UT", "UC", "UR", "PN"), CANARY),
    **{"DA": DATE, "DT": DATE + TIME, "TM": TIME, "UI": UID, "DS": NUMBER, "IS": WHOLE},
    **dict.fromkeys(("OB", "UN", "OW"), CANARY.encode() + b" "),
    **{"AS": CANARY},
}
_LEFT = {*PIXEL_ATTRIBUTES, "PixelData", "InstanceNumber", "Modality", "TransferSyntaxUID"}


@functools.cache
def image(**attributes: Any) -> bytes:
    """A CT slice of 64 x 64 with canaries all over; ``attributes`` are as given."""
    pixels = dicoms.values(3)
    made = dicoms.dataset(pixels, Modality="CT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _plant(made)
        made.update(_given({"Modality": "CT", "RescaleIntercept": "-1024", **attributes}))
        data = dicoms.file_of(made, pixels, loose=True)
    assert data.count(CANARY.encode()) > 1000
    return data.replace(b"\0" * 128, (CANARY * 15).encode()[:128], 1)  # the preamble


def planted() -> set[str]:
    """Keywords of the attributes that hold a canary."""
    return {
        keyword
        for vr, _, _, _, keyword in DicomDictionary.values()
        if vr.split(" ")[0] in (*_BY_VR, "SQ") and keyword and keyword not in _LEFT
    }


def _given(attributes: dict[str, Any]) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def _plant(made: Dataset) -> None:
    for number, (vr, _, _, _, keyword) in DicomDictionary.items():
        tag, kind = Tag(number), vr.split(" ")[0]
        if keyword in _LEFT or tag.group < 8 or tag.group >= 0x7FE0 or tag in made:
            continue
        if kind == "SQ":
            item = Dataset()
            item.PatientName, item.PatientID, item.StudyDate = CANARY, CANARY, DATE
            item.CodeValue, item.CodeMeaning, item.ViewPosition = CANARY, CANARY, CANARY
            made.add_new(tag, "SQ", Sequence([item]))
        elif kind in _BY_VR:
            made.add_new(tag, kind, _BY_VR[kind])
    block = made.private_block(0x0099, CANARY, create=True)
    block.add_new(0x01, "LO", CANARY)
    block.add_new(0x02, "SQ", Sequence([_given({"PatientName": CANARY})]))
    made.add_new(0x60000010, "US", 8)
    made.add_new(0x60000011, "US", 8)
    made.add_new(0x60004000, "LT", CANARY)  # overlay comments, of a group that repeats
    made.add_new(0x60003000, "OW", CANARY.encode() + b" ")


@functools.cache
def odd_files() -> dict[str, bytes]:
    """Files that are refused for what stands in them, which is a canary."""
    whole = image()
    report = image(Rows=None)
    return {
        "modality.dcm": image(Modality=CANARY),
        "photometric.dcm": image(PhotometricInterpretation=CANARY),
        "frames.dcm": _with_frames_of_words(),
        "syntax.dcm": whole.replace(b"1.2.840.10008.1.2.1\0", CANARY.encode() + b".1.2.840.10"),
        "half.dcm": whole[: len(whole) // 2],
        "header.dcm": whole[:4000],
        "report.dcm": report,
        "meta.dcm": whole[:300],
        "flipped.dcm": _flipped(whole),
    }


def _with_frames_of_words() -> bytes:
    """The number of frames is text, over which pydicom's own error would repeat it."""
    head, plain = b"\x28\0\x08\0IS", image(NumberOfFrames=1)
    assert head + b"\x02\x001 " in plain
    return plain.replace(head + b"\x02\x001 ", head + b"\x0a\0" + CANARY.encode() + b" ")


def _flipped(data: bytes) -> bytes:
    chance = np.random.default_rng(5)
    found = bytearray(data)
    for place in chance.integers(200, len(found) - 9000, 60):
        found[place] = int(chance.integers(256))
    return bytes(found)


def traces_in(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, trace) of every trace below ``folder``: in the bytes, and in Parquet's values."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        text = path.read_bytes()
        if path.suffix == ".parquet":
            rows = pq.read_table(path)
            text += repr(rows.to_pylist()).encode()
        for trace in TRACES:
            if trace.encode() in text:
                yield str(path.relative_to(folder)), trace
