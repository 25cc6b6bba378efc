"""Numbers of DICOM headers, the form of pixels that they declare, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from imaging import dicoms
from imaging.dicom_reading import header_of, refused
from pulmospark.core import limits
from pulmospark.core.schemas import Note
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging.dicom.header import Header, read_header
from pulmospark.imaging.dicom.number_parsing import NoNumberError, numbers
from pulmospark.imaging.dicom.pixel_data import PixelReader, Stored, stored_values
from pulmospark.imaging.dicom.pixel_format import PixelForm, check_pixels, pixel_form
from pulmospark.imaging.dicom.reader import open_dicom

# Numbers.


def _raw(text: bytes, vr: str | None = "DS") -> Dataset:
    found = Dataset()
    tag = BaseTag(0x00281052)  # RescaleIntercept
    found[tag] = RawDataElement(tag, vr, len(text), text, 0, vr is None, True)
    return found


@pytest.mark.parametrize(
    ("text", "values", "comma"),
    [
        (b"", (), False),
        (b" \0\t\r\n", (), False),
        (b"5 ", (5.0,), False),
        (b"-1024\\ 1e3\\.5 ", (-1024.0, 1000.0, 0.5), False),
        (b"-1024,0", (-1024.0,), True),
        (b"1,02", (1.02,), True),
        (b"0,125", (0.125,), True),
        (b"1024,125", (1024.125,), True),
        (b"1,1024", (1.1024,), True),
        (b"9.9e29", (9.9e29,), False),
        (b"+7", (7.0,), False),
    ],
)
def test_numbers_are_read_as_they_are_written(
    text: bytes, values: tuple[float, ...], comma: bool
) -> None:
    for vr in ("DS", "IS", None):
        notes: set[Note] = set()
        assert numbers(_raw(text, vr), "RescaleIntercept", notes) == values
        assert notes == ({Note.DECIMAL_COMMA} if comma else set())


@pytest.mark.parametrize(
    "text",
    [b"abc", b"1,024", b"+1,024", b"-1,024", b"999,999", b"1,2,3", b"1.0,0", b"1_0", b"nan",
     b"inf", b"1e30", b"-1e31", b"5\\", b"\\5", b"5\\x", b"\xff5"],
)  # fmt: skip
def test_what_is_no_number_is_told(text: bytes) -> None:
    notes: set[Note] = set()
    with pytest.raises(NoNumberError):
        numbers(_raw(text), "RescaleIntercept", notes)
    assert notes == set()


def test_numbers_of_other_kinds() -> None:
    notes: set[Note] = set()
    made = Dataset()
    assert numbers(made, "RescaleIntercept", notes) == ()
    assert numbers(made, "NoSuchKeyword", notes) == ()
    made.RescaleIntercept = "2.5"
    made.PixelPaddingValue = 7
    made.add_new("LUTDescriptor", "US", [3, 0, 16])
    made.RescaleSlope = None
    made.add_new("RescaleType", "LO", "12")
    made.add_new("WindowWidth", "OB", bytes([1, 0, 2, 1, 9]))
    made.add_new("WindowCenter", "OB", b"")
    assert numbers(made, "RescaleIntercept", notes) == (2.5,)
    assert numbers(made, "PixelPaddingValue", notes) == (7.0,)
    assert numbers(made, "LUTDescriptor", notes) == (3.0, 0.0, 16.0)
    assert numbers(made, "RescaleSlope", notes) == ()
    assert numbers(made, "RescaleType", notes) == (12.0,)
    assert numbers(made, "WindowWidth", notes) == (1.0, 258.0)  # words, the low byte first
    assert numbers(made, "WindowCenter", notes) == ()
    made.add_new("RescaleType", "LO", "")
    assert numbers(made, "RescaleType", notes) == ()
    made.add_new("RescaleType", "LO", "1,5")
    assert numbers(made, "RescaleType", notes) == (1.5,)
    assert notes == {Note.DECIMAL_COMMA}
    for bad in ([1.0, 1e30], [float("nan"), 1.0], [-1e30, 1.0]):
        made.add_new("WindowWidth", "FD", bad)
        with pytest.raises(NoNumberError, match=r"^WindowWidth$"):
            numbers(made, "WindowWidth", notes)
    made.add_new("VOILUTSequence", "SQ", Sequence([Dataset()]))
    with pytest.raises(NoNumberError, match=r"^VOILUTSequence$"):
        numbers(made, "VOILUTSequence", notes)


def test_binary_numbers_that_were_not_read_yet() -> None:
    notes: set[Note] = set()
    raw = header_of(np.zeros((17, 18), np.uint8)).dataset
    assert numbers(raw, "Rows", notes) == (17.0,)
    # Without a VR, as in implicit files, the dictionary says that it is binary.
    implicit = header_of(np.zeros((17, 18), np.uint8), dicoms.IMPLICIT).dataset
    assert numbers(implicit, "Columns", notes) == (18.0,)
    broken = Dataset()
    tag = BaseTag(0x00280010)
    broken[tag] = RawDataElement(tag, "US", 3, b"abc", 0, False, True)
    with pytest.raises(NoNumberError, match=r"^Rows$"):
        numbers(broken, "Rows", notes)


# Shape and meaning of pixels.


def _form_of(raw: NDArray[Any] | None = None, **told: Any) -> tuple[PixelForm, set[Note]]:
    header = header_of(raw, **told)
    header.notes.clear()
    return pixel_form(header), header.notes


def test_a_form_as_the_header_declares_it() -> None:
    raw = np.zeros((17, 19), np.int16)
    form, notes = _form_of(raw, BitsStored=12, HighBit=13, PhotometricInterpretation="MONOCHROME1",
                           PixelPaddingValue=-2000)  # fmt: skip
    assert form == PixelForm(
        17, 19, 1, 1, 16, 12, 13, True, planar=False, photometric="MONOCHROME1",
        padding=(-2000.0, -2000.0),
    )  # fmt: skip
    assert notes == set()
    assert (form.lowest, form.highest, form.dtype) == (-2048, 2047, np.dtype("u2"))
    colours = np.zeros((18, 17, 3), np.uint8)
    form, notes = _form_of(colours, PhotometricInterpretation="RGB", PlanarConfiguration=1)
    assert form == PixelForm(
        18, 17, 1, 3, 8, 8, 7, False, planar=True, photometric="RGB", padding=None
    )
    assert (form.lowest, form.highest, form.dtype) == (0, 255, np.dtype("u1"))
    assert notes == set()


@pytest.mark.parametrize(
    ("told", "changes", "note"),
    [
        ({"BitsStored": None}, {"stored": 16, "high": 11}, Note.BITS_MISSING),
        ({"BitsStored": 0, "HighBit": None}, {"stored": 16, "high": 15}, Note.BITS_MISSING),
        ({"HighBit": None}, {"high": 11}, None),
        ({"HighBit": 15}, {"high": 15}, None),
        ({"HighBit": 16}, {"high": 11}, Note.HIGH_BIT),
        ({"HighBit": 10}, {"high": 11}, Note.HIGH_BIT),
        ({"PixelRepresentation": None}, {"signed": False}, Note.SIGN_MISSING),
        ({"PhotometricInterpretation": None}, {"photometric": "MONOCHROME2"},
         Note.PHOTOMETRIC_MISSING),
        ({"SamplesPerPixel": None}, {"samples": 1}, None),
        ({"NumberOfFrames": 0}, {"frames": 1}, Note.FRAMES_ZERO),
        ({"NumberOfFrames": 1}, {"frames": 1}, None),
        ({"PixelPaddingValue": 9}, {"padding": (9.0, 9.0)}, None),
        ({"PixelPaddingValue": 9, "PixelPaddingRangeLimit": 12}, {"padding": (9.0, 12.0)}, None),
        ({"PixelPaddingValue": 12, "PixelPaddingRangeLimit": 9}, {"padding": (9.0, 12.0)}, None),
        ({"PixelPaddingRangeLimit": 9}, {"padding": None}, None),
    ],
)  # fmt: skip
def test_what_a_header_leaves_open(
    told: dict[str, Any], changes: dict[str, Any], note: Note | None
) -> None:
    raw = np.zeros((17, 17), np.uint16)
    plain, _ = _form_of(raw)
    form, notes = _form_of(raw, **told)
    if told.get("BitsStored", 1) is None:
        changes = {"stored": 16, "high": 15}  # HighBit 11 contradicts 16 bits
        assert notes == {Note.BITS_MISSING, Note.HIGH_BIT}
    else:
        assert notes == ({note} if note else set())
    assert vars(form) == vars(plain) | changes


def test_a_high_bit_is_of_uncompressed_pixels_alone() -> None:
    raw = dicoms.values()
    header = header_of(raw, dicoms.RLE, HighBit=15)
    assert pixel_form(header).high == 11
    assert header.notes == set()


@pytest.mark.parametrize(
    ("value", "allocated", "signed", "meant"),
    [
        (65535, 16, True, -1), (32768, 16, True, -32768), (32767, 16, True, 32767),
        (-1, 16, False, 65535), (-32768, 16, False, 32768), (0, 16, False, 0),
        (200, 8, True, -56), (127, 8, True, 127), (-3, 8, False, 253), (200, 8, False, 200),
    ],
)  # fmt: skip
def test_padding_may_be_written_with_the_other_sign(
    value: int, allocated: int, signed: bool, meant: int
) -> None:
    raw = np.zeros((17, 17), f"{'i' if signed else 'u'}{allocated // 8}")
    header = header_of(raw)
    header.dataset.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    form = pixel_form(header)
    assert form.padding == (float(meant), float(meant))


def test_unreadable_padding_is_noted() -> None:
    header = header_of()
    header.dataset.add_new("PixelPaddingValue", "LO", "x")
    assert pixel_form(header).padding is None
    assert header.notes == {Note.PADDING_UNREADABLE}


_NOT_READ = "samples a pixel of a photometric interpretation that is not read"


@pytest.mark.parametrize(
    ("told", "reason", "detail"),
    [
        ({"BitsStored": 13}, Why.UNSUPPORTED_FORMAT, "dicom: 13 of 8 bits a sample"),
        ({"BitsAllocated": 12, "BitsStored": 12}, Why.UNSUPPORTED_FORMAT,
         "dicom: 12 of 12 bits a sample"),
        ({"BitsAllocated": 64, "BitsStored": 12}, Why.UNSUPPORTED_FORMAT,
         "dicom: 12 of 64 bits a sample"),
        ({"PixelRepresentation": 2}, Why.UNREADABLE,
         "dicom: PixelRepresentation is neither 0 nor 1"),
        ({"NumberOfFrames": -2}, Why.UNREADABLE,
         "dicom: -2 frames, and 1 to DICOM_FRAMES_MAX (2000) are read"),
        ({"NumberOfFrames": 2001}, Why.TOO_MANY_PIXELS,
         "dicom: 2001 frames, and 1 to DICOM_FRAMES_MAX (2000) are read"),
        ({"PhotometricInterpretation": "CMYK"}, Why.UNSUPPORTED_FORMAT, f"dicom: 1 {_NOT_READ}"),
        ({"PhotometricInterpretation": "RGB"}, Why.UNSUPPORTED_FORMAT, f"dicom: 1 {_NOT_READ}"),
        ({"SamplesPerPixel": 3}, Why.UNSUPPORTED_FORMAT, f"dicom: 3 {_NOT_READ}"),
        ({"SamplesPerPixel": 4, "PhotometricInterpretation": "RGB"}, Why.UNSUPPORTED_FORMAT,
         f"dicom: 4 {_NOT_READ}"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": None}, Why.UNSUPPORTED_FORMAT,
         f"dicom: 3 {_NOT_READ}"),
        ({"BitsAllocated": None}, Why.UNREADABLE, "dicom: BitsAllocated is missing"),
    ],
)  # fmt: skip
def test_forms_that_are_refused(told: dict[str, Any], reason: Why, detail: str) -> None:
    header = header_of(**told)
    assert refused(pixel_form, header) == (reason, detail)


def test_the_most_frames_that_are_read() -> None:
    form, _ = _form_of(NumberOfFrames=1)
    header = header_of()
    header.dataset.NumberOfFrames = limits.DICOM_FRAMES_MAX
    assert pixel_form(header).frames == limits.DICOM_FRAMES_MAX
    assert form.frames == 1


def test_the_least_side() -> None:
    raw = np.zeros((17, 15), np.uint8)
    assert refused(pixel_form, header_of(raw))[0] is Why.TOO_SMALL
    assert pixel_form(header_of(raw), least_side=15).columns == 15


def test_objects_without_pixels_are_refused() -> None:
    whole = header_of()
    check_pixels(whole)

    def like(**changes: Any) -> Header:
        return replace(whole, **changes)

    assert refused(check_pixels, like(pixels=None)) == (
        Why.TRUNCATED, "dicom: it declares an image, and ends before it",
    )  # fmt: skip
    for keyword in ("Rows", "BitsAllocated"):
        dataset = Dataset()
        dataset.update({e.tag: e for e in whole.dataset if e.keyword != keyword})
        assert refused(check_pixels, like(pixels=None, dataset=dataset)) == (
            Why.NO_PIXELS, "dicom: it holds no image",
        )  # fmt: skip
    assert whole.pixels is not None
    floats = replace(whole.pixels, is_float=True)
    assert refused(check_pixels, like(pixels=floats)) == (
        Why.UNSUPPORTED_FORMAT, "dicom: floating-point pixels are not read",
    )  # fmt: skip
    assert refused(check_pixels, like(syntax="1.2.840.10008.1.2.4.100")) == (
        Why.UNSUPPORTED_FORMAT,
        "dicom: MPEG2 Main Profile / Main Level (1.2.840.10008.1.2.4.100) is not read",
    )  # fmt: skip


def test_uncompressed_pixels_that_are_refused() -> None:
    raw = np.zeros((18, 18, 3), np.uint8)
    told: dict[str, Any] = {
        "PhotometricInterpretation": "YBR_PARTIAL_420", "PlanarConfiguration": 0,
    }  # fmt: skip
    header = header_of(raw, **told)
    reader = PixelReader(header, pixel_form(header))
    assert refused(reader.read, 0) == (
        Why.UNSUPPORTED_FORMAT, "dicom: 4:2:0 colours, not compressed",
    )  # fmt: skip
    header = header_of()
    form = pixel_form(header)
    bare = replace(header, pixels=None)
    assert refused(PixelReader(bare, form).read, 0) == (
        Why.NO_PIXELS, "dicom: it holds no image",
    )  # fmt: skip
    assert refused(PixelReader(header, form).read, 1) == (
        Why.TRUNCATED, "dicom: the pixel data ends before its image does",
    )  # fmt: skip
    cut = replace(header, body=bytes(header.body)[:-1])
    assert refused(PixelReader(cut, form).read, 0)[0] is Why.TRUNCATED


def test_stored_values_and_their_colour_space() -> None:
    raw = dicoms.values(2)
    header = header_of(raw)
    found, space = stored_values(header, pixel_form(header), 0)
    assert space == ""
    assert np.array_equal(found, raw)
    colours = np.random.default_rng(1).integers(0, 256, (18, 20, 3)).astype(np.uint8)
    for photometric, name in (("RGB", "RGB"), ("YBR_FULL", "YBR")):
        header = header_of(colours, PhotometricInterpretation=photometric, PlanarConfiguration=0)
        found, space = stored_values(header, pixel_form(header), 0)
        assert (space, found.shape) == (name, (18, 20, 3))
        assert np.array_equal(found, colours)
    pairs = np.full((18, 10, 4), 128, np.uint8)
    pairs[..., :2] = colours[..., 0].reshape(18, 10, 2)
    made = dicoms.dataset(colours, PhotometricInterpretation="YBR_FULL_422",
                          PlanarConfiguration=0)  # fmt: skip
    header = read_header(dicoms.file_of(made, pairs))
    found, space = stored_values(header, pixel_form(header), 0)
    assert (space, found.shape) == ("Y", (18, 20))
    assert np.array_equal(found, colours[..., 0])


def test_padding_of_palettes_is_a_value_like_others() -> None:
    form = PixelForm(16, 16, 1, 1, 16, 12, 11, False, planar=False, photometric="PALETTE COLOR",
                     padding=(61440.0, 61440.0))  # fmt: skip
    raw = np.full((16, 16), 0xF005, np.uint16)
    assert Stored(raw, 0, 12).values(form).max() == 5
    grey = replace(form, photometric="MONOCHROME2", padding=(61445.0, 61446.0))
    assert Stored(raw, 0, 12).values(grey).min() == 0xF005
    assert Stored(raw.astype(">u2"), 0, 12).values(grey).dtype.isnative
    assert Stored(raw + np.uint16(2), 0, 12).values(grey).min() == 7


@pytest.mark.parametrize("rows", [21, 20])
def test_bytes_of_a_big_endian_file_lie_two_a_word(rows: int) -> None:
    """PS3.5, 7.3: of OW, the first of two bytes in the low one; also where frames are odd."""
    volume = np.random.default_rng(2).integers(0, 256, (3, rows, 21)).astype(np.uint8)
    made = dicoms.dataset(volume, Modality="CT", NumberOfFrames=3, RescaleSlope="1",
                          RescaleIntercept="-900")  # fmt: skip
    flat = volume.tobytes() + bytes(volume.size % 2)
    swapped = np.frombuffer(flat, "<u2").astype(">u2").view(np.uint8)
    data = dicoms.file_of(made, np.zeros((3, rows, 21), np.uint8), dicoms.BIG_ENDIAN)
    place = data.rindex(bytes(len(flat)))
    whole = data[:place] + swapped.tobytes()
    whole = whole.replace(b"\x7f\xe0\x00\x10OB", b"\x7f\xe0\x00\x10OW")
    image = open_dicom(whole)
    for number in range(3):
        exact = np.clip((volume[number] - 300.0) / 1500 + 0.5, 0, 1) * 255
        assert np.abs(image.frame(number, "lung").grey - exact).max() <= 0.5 + 1e-6
