"""Headers that would take long or much: rejected by a limit's name, before anything is built."""

from __future__ import annotations

import importlib
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imaging import dicoms
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging.decode import Decoded, Rejected, decode
from pulmospark.imaging.dicom.header import read_header
from pulmospark.imaging.image import images_from_bytes

MANY = 1_000_000


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Of the explicit encoding, low byte first."""
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in (b"SQ", b"UN", b"OB", b"OW"):
        return head + struct.pack("<HL", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def with_header(extra: bytes, syntax: str = dicoms.EXPLICIT) -> bytes:
    """An image whose header begins with other elements."""
    plain = dicoms.image()
    body = dicoms.body_of(plain)
    meta = plain[: len(plain) - len(body)]
    if syntax == dicoms.DEFLATED:
        whole = dicoms.image(syntax=syntax)
        meta = whole[: 144 + int.from_bytes(whole[140:144], "little")]
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return meta + packer.compress(extra + body) + packer.flush()
    return meta + extra + body


ITEM = b"\xfe\xff\x00\xe0" + bytes(4)
EMPTY = element(0x00080005, b"CS", b"")
OPEN = struct.pack("<HH", 0x0054, 0x0220) + b"SQ\0\0\xff\xff\xff\xff" + ITEM[:4] + b"\xff" * 4
PER_FRAME = 0x52009230


@pytest.mark.parametrize(
    ("extra", "syntax", "reason", "limit"),
    [
        (lambda: EMPTY * MANY, dicoms.EXPLICIT, Why.TOO_SLOW, "DICOM_ELEMENTS_MAX"),
        (lambda: EMPTY * MANY, dicoms.DEFLATED, Why.TOO_SLOW, "DICOM_ELEMENTS_MAX"),
        (lambda: element(0x00540220, b"SQ", ITEM * MANY), dicoms.EXPLICIT, Why.TOO_SLOW,
         "DICOM_ELEMENTS_MAX"),
        (lambda: OPEN[:12] + ITEM * MANY, dicoms.EXPLICIT, Why.TOO_SLOW, "DICOM_ELEMENTS_MAX"),
        (lambda: OPEN * MANY, dicoms.EXPLICIT, Why.UNREADABLE, "DICOM_DEPTH_MAX"),
        (lambda: element(0x00540220, b"UN", ITEM * MANY), dicoms.EXPLICIT, Why.TOO_SLOW,
         "DICOM_ELEMENTS_MAX"),
        (lambda: element(0x00540220, b"SQ", b"\xfe\xff\x00\xe0\xf8\x0f\0\0" + EMPTY * 511),
         dicoms.EXPLICIT, None, ""),
        (lambda: element(0x00091010, b"UN", bytes(70 << 20)), dicoms.DEFLATED,
         Why.TOO_MANY_BYTES, "DICOM_INFLATED_HEADER_BYTES_MAX"),
        (lambda: element(0x00091010, b"UN", bytes(30 << 20)), dicoms.EXPLICIT, None, ""),
        (lambda: element(0x00281050, b"UN", b"1\\" * (1 << 20)), dicoms.EXPLICIT,
         Why.TOO_MANY_BYTES, "DICOM_VALUE_BYTES_MAX"),
        (lambda: bytes(8 * MANY), dicoms.EXPLICIT, Why.TRUNCATED, "zeros"),
    ],
)  # fmt: skip
def test_headers_over_a_limit(
    extra: Callable[[], bytes], syntax: str, reason: Why | None, limit: str
) -> None:
    data = with_header(extra(), syntax)
    began = time.process_time()
    outcome = decode(data, at_least=32)
    assert time.process_time() - began < limits.DECODE_SECONDS_MAX
    if reason is None:
        assert isinstance(outcome, Decoded), outcome
        return
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason
    assert limit in outcome.detail


def test_an_enhanced_ct_of_1000_slices_is_below_the_limits() -> None:
    """Each frame with as many groups and elements as scanners write."""
    group = b"".join(
        element(0x00209111 + n, b"SQ", ITEM[:4] + struct.pack("<L", 60) + EMPTY[:4] + b"UN\0\0"
                + struct.pack("<L", 48) + bytes(48))
        for n in range(12)
    )  # fmt: skip
    frame = ITEM[:4] + struct.pack("<L", len(group)) + group
    began = time.process_time()
    with_groups = dicoms.body_of(dicoms.image(Modality="CT"))
    head, pixels = with_groups.split(b"\xe0\x7f\x10\x00", 1)
    data = head + element(PER_FRAME, b"SQ", frame * 1000) + b"\xe0\x7f\x10\x00" + pixels
    outcome = decode(data, at_least=32)
    assert isinstance(outcome, Decoded), outcome
    assert time.process_time() - began < limits.DECODE_SECONDS_MAX


def test_a_meta_group_of_many_elements_is_not_walked_through() -> None:
    data = bytes(128) + b"DICM" + element(0x00020016, b"AE", b"") * MANY
    outcome = decode(data, at_least=32)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Why.TOO_SLOW
    assert "DICOM_META_ELEMENTS_MAX" in outcome.detail


def test_many_fragments_are_not_walked_through() -> None:
    whole = dicoms.sample("1.2.840.10008.1.2.4.80")
    place = whole.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12
    outcome = decode(whole[:place] + ITEM * MANY, at_least=32)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Why.TOO_SLOW
    assert "DICOM_FRAGMENTS_MAX" in outcome.detail


def test_an_icon_of_compressed_pixels_is_passed_over() -> None:
    """Its fragments look like no elements, and are none."""
    fragments = ITEM + ITEM[:4] + struct.pack("<L", 6) + b"\xff\xd8\xff\xff\xff\xff"
    pixels = struct.pack("<HH", 0x7FE0, 0x0010) + b"OB\0\0\xff\xff\xff\xff"
    end = b"\xfe\xff\xdd\xe0" + bytes(4)
    item = ITEM[:4] + b"\xff" * 4 + pixels + fragments + end + b"\xfe\xff\x0d\xe0" + bytes(4)
    icon = struct.pack("<HH", 0x0088, 0x0200) + b"SQ\0\0\xff\xff\xff\xff" + item + end
    assert isinstance(decode(with_header(icon), at_least=32), Decoded)


def test_pixels_are_not_copied() -> None:
    """A header is read, and one frame of many made grey, in less than the file's own bytes."""
    volume = np.zeros((40, 512, 512), np.uint16)
    data = dicoms.file_of(
        dicoms.dataset(volume, NumberOfFrames=40, Modality="CT", RescaleIntercept="-1024"), volume
    )
    tracemalloc.start()
    try:
        header = read_header(data)
        assert header.body is data
        images = images_from_bytes(data, IngestSettings(size=32))
        assert isinstance(images, list) and len(images) == 40
        assert tracemalloc.get_traced_memory()[1] < len(data)
    finally:
        tracemalloc.stop()


def test_standard_images_of_many_frames_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.zeros((4, 64, 64), np.uint16)
    data = dicoms.file_of(dicoms.dataset(volume, NumberOfFrames=4, Modality="CT"), volume)
    monkeypatch.setattr(limits, "DICOM_FRAMES_BYTES_MAX", 3 * 32 * 32)
    outcome = images_from_bytes(data, IngestSettings(size=32))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Why.TOO_MANY_PIXELS
    assert "DICOM_FRAMES_BYTES_MAX" in outcome.detail


@pytest.mark.parametrize(
    "syntax", [dicoms.RLE, "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"]
)
def test_a_frame_that_would_take_too_much_memory_is_not_decoded(
    monkeypatch: pytest.MonkeyPatch, syntax: str
) -> None:
    monkeypatch.setattr(limits, "DECODED_BYTES_MAX", 10_000)
    outcome = decode(dicoms.sample(syntax), at_least=32)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Why.TOO_MANY_PIXELS
    assert "DECODED_BYTES_MAX (10000)" in outcome.detail


def test_an_image_of_100_megapixels_stays_below_a_gibibyte(shared_cases: Path) -> None:
    bench = importlib.import_module("benchmarks.image_memory")
    for path in sorted((shared_cases / "a01-memory-bombs").glob("*.dcm")):
        found = bench.read_alone(path)
        assert found.outcome == "1 read", found
        assert found.is_bounded, found
