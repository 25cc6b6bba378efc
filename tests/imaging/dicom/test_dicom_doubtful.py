"""Headers that contradict the pixels or cannot be read: read rightly and noted, or rejected."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.sequence import Sequence

from imaging import dicoms
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.schemas import Modality, Note
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging.decode import Decoded, Rejected, decode
from pulmospark.imaging.image import StandardImage, images_from_bytes

WINDOW: dict[str, Any] = {"WindowCenter": 2048, "WindowWidth": 4096}
HOUNSFIELD: dict[str, Any] = {"Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "-1024"}
JPEG, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 80, 90))


def read(data: bytes) -> Decoded:
    outcome = decode(data, at_least=32)
    assert isinstance(outcome, Decoded), outcome
    return outcome


def rejected(data: bytes) -> Rejected:
    outcome = decode(data, at_least=32)
    assert isinstance(outcome, Rejected), "it was read"
    return outcome


def image(pixels: NDArray[Any] | None = None, **attributes: Any) -> bytes:
    pixels = dicoms.values() if pixels is None else pixels
    return dicoms.file_of(dicoms.dataset(pixels, **attributes), pixels)


def raw_text(data: bytes, keyword: str, text: str) -> bytes:
    """A file in which a number is written as another text of the same length."""
    element = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).get_item(keyword)
    before = element.value
    assert len(before) >= len(text) and data.count(before) == 1
    return data.replace(before, text.encode().ljust(len(before)))


@pytest.mark.parametrize(
    ("name", "mean", "note"),
    [
        ("f02-voilut-says-16-holds-12/d16a_voilut_12", 101.6, None),
        ("f02-voilut-says-16-holds-12/d16b_voilut_says_16_holds_12", 101.6, Note.LUT_BITS),
        ("f03-compressed-bits-above-stored/d07n_native_signed_12", 150.8, None),
        ("f03-compressed-bits-above-stored/d07n_native_signed_12_jlslossless", 150.3, None),
        ("f03-compressed-bits-above-stored/d27n_overlay_bits_native", 116.7, Note.BITS_MASKED),
        ("f03-compressed-bits-above-stored/d27l_overlay_bits_jls", 116.2, Note.BITS_MASKED),
        ("f05-decimal-comma/d17c_ct_rescale_comma", 243.6, Note.DECIMAL_COMMA),
        ("f06-ct-window-not-one-for-all/d17a_ct_rescale_type_us", 243.6, Note.RESCALE_TYPE),
        ("f08-no-sequence-delimiter/d20_no_sequence_delimiter", 116.7, Note.NO_DELIMITER),
        ("f09-frames-0/d01_frames_0", 116.7, Note.FRAMES_ZERO),
        ("f10-wrong-offset-table/d22_bot_wrong_3_fragments", 116.7, Note.OFFSET_TABLE),
        ("f18-presentation-lut-shape/d08_mono2_shape_inverse", 116.7, Note.PRESENTATION_SHAPE),
        ("f18-presentation-lut-shape/d09_mono1_shape_identity", 138.3, Note.PRESENTATION_SHAPE),
        ("f18-presentation-lut-shape/d15_for_processing", 138.3, Note.FOR_PROCESSING),
        ("f19-htj2k-and-swapped-syntax/d11_htj2k", 116.7, None),
    ],
)
def test_reported_cases_are_read(
    shared_cases: Path, name: str, mean: float, note: Note | None
) -> None:
    # The means are those of DCMTK and pydicom, which round windows half a level apart.
    images = images_from_bytes((shared_cases / f"{name}.dcm").read_bytes(), IngestSettings())
    assert isinstance(images, list) and len(images) == 1
    assert images[0].pixels.mean() == pytest.approx(mean, abs=0.55)
    assert images[0].notes == note


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("f07-ct-that-is-no-slice/d13b_ct_scout_sagittal", Why.OTHER_MODALITY, "scout"),
        ("f07-ct-that-is-no-slice/d13e_ct_dose_sheet", Why.OTHER_MODALITY, "secondary capture"),
        ("f08-no-sequence-delimiter/d28_cut_in_frame", Why.TRUNCATED, "within a frame"),
        ("f19-htj2k-and-swapped-syntax/d03_raw_under_jpeg_lossless", Why.UNREADABLE,
         "JPEG Lossless, Non-Hierarchical, First-Order Prediction (1.2.840.10008.1.2.4.70), and "
         "the pixels are not compressed"),
        ("f19-htj2k-and-swapped-syntax/d12_jpegxl_uid", Why.UNREADABLE,
         "JPEG XL (1.2.840.10008.1.2.4.110), and the frame is JPEG"),
    ],
)  # fmt: skip
def test_reported_cases_are_rejected(
    shared_cases: Path, name: str, reason: Why, words: str
) -> None:
    outcome = rejected((shared_cases / f"{name}.dcm").read_bytes())
    assert outcome.reason is reason
    assert words in outcome.detail and len(outcome.detail) < limits.DETAIL_CHARS_MAX


@pytest.mark.parametrize(("declared", "held"), [(12, 12), (16, 12), (16, 10), (16, 8), (8, 12)])
def test_a_voi_table_is_scaled_by_what_it_holds(declared: int, held: int) -> None:
    """Whatever its descriptor says, it is the same curve to white."""
    pixels = dicoms.values()
    curve = np.linspace(0, 1, 4096) ** 2
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, declared])
    item.add_new("LUTData", "OW", np.rint(curve * (2**held - 1)).astype("<u2").tobytes())
    outcome = read(image(pixels, VOILUTSequence=Sequence([item])))
    assert np.abs(outcome.grey - curve[pixels] * 255).max() <= 1 + 255 / 2**held
    assert outcome.notes == (None if declared == held else Note.LUT_BITS)


@pytest.mark.parametrize("text", ["-1024,0", "-1024.0", "-1,024E3", "-1024"])
def test_a_decimal_comma_is_read_as_a_point(text: str) -> None:
    plain = image(Modality="CT", RescaleSlope="1", RescaleIntercept="-1234.0")
    outcome = read(raw_text(plain, "RescaleIntercept", text))
    # The lung window by hand: centre -600, width 1500.
    exact = np.clip((dicoms.values() - 1024.0 + 600) / 1500 + 0.5, 0, 1) * 255
    assert np.abs(outcome.grey - exact).max() <= 1
    assert outcome.notes == (Note.DECIMAL_COMMA if "," in text else None)


@pytest.mark.parametrize("keyword", ["RescaleIntercept", "RescaleSlope", "NumberOfFrames"])
@pytest.mark.parametrize("text", ["abc", "1,024", "1,2,3", "1.0.0", "nan", "inf", "1_0", "--1"])
def test_a_number_that_is_none_is_a_reject(keyword: str, text: str) -> None:
    data = dicoms.image(**{**HOUNSFIELD, keyword: "1234567"})
    outcome = rejected(raw_text(data, keyword, text))
    assert outcome.reason is Why.UNREADABLE
    assert outcome.detail.startswith(f"dicom: {keyword} is no ")


@pytest.mark.parametrize(
    ("attributes", "note"),
    [
        ({"WindowCenter": "2048", "WindowWidth": "-5"}, Note.WINDOW_UNREADABLE),
        ({"WindowCenter": "2048"}, Note.WINDOW_UNREADABLE),
        ({"WindowCenter": "90000", "WindowWidth": "10"}, Note.WINDOW_EMPTY),
        ({"VOILUTSequence": Sequence([Dataset()])}, Note.LUT_UNREADABLE),
        ({"RescaleSlope": "0", "RescaleIntercept": "0"}, Note.SLOPE_ZERO),
        ({"RescaleIntercept": "0"}, Note.RESCALE_INCOMPLETE),
        ({"PhotometricInterpretation": None}, Note.PHOTOMETRIC_MISSING),
        ({"PixelRepresentation": None}, Note.SIGN_MISSING),
        ({"HighBit": 3}, Note.HIGH_BIT),
    ],
)
def test_what_is_read_otherwise_is_noted(attributes: dict[str, Any], note: Note) -> None:
    pixels = dicoms.values()
    data = dicoms.file_of(dicoms.dataset(pixels, **attributes), pixels, loose=True)
    outcome = read(data)
    assert outcome.notes == note
    # As without the attribute: between percentiles.
    assert np.array_equal(outcome.grey, read(image(pixels)).grey)


def test_an_unreadable_window_is_noted() -> None:
    outcome = read(
        raw_text(image(WindowCenter="2049", WindowWidth="4096"), "WindowCenter", "20x8")
    )
    assert outcome.notes == Note.WINDOW_UNREADABLE
    assert np.array_equal(outcome.grey, read(image()).grey)


def test_notes_are_joined_in_their_order_and_come_from_the_closed_list() -> None:
    data = image(HighBit=3, PresentationLUTShape="INVERSE",
                 PhotometricInterpretation="MONOCHROME2",
                **WINDOW, VOILUTFunction="STRANGE", NumberOfFrames="0")  # fmt: skip
    assert read(data).notes == "; ".join(
        [Note.FRAMES_ZERO, Note.HIGH_BIT, Note.WINDOW_FUNCTION, Note.PRESENTATION_SHAPE]
    )


@pytest.mark.parametrize("unit", [None, "", "HU", "US", "OD", "HU_MOD", "WAS IST DAS"])
def test_ct_has_one_window_whatever_unit_is_named(unit: str | None) -> None:
    outcome = read(image(RescaleType=unit, WindowCenter=40, WindowWidth=400, **HOUNSFIELD))
    exact = np.clip((dicoms.values() - 1024.0 + 600) / 1500 + 0.5, 0, 1) * 255
    assert np.abs(outcome.grey - exact).max() <= 1
    assert outcome.notes == (None if unit in (None, "", "HU") else Note.RESCALE_TYPE)


def test_ct_without_rescale_keeps_its_own_window_and_is_noted() -> None:
    outcome = read(image(Modality="CT", **WINDOW))
    assert outcome.notes == Note.NOT_HOUNSFIELD
    assert np.array_equal(outcome.grey, read(image(**WINDOW)).grey)


AXIAL, TILTED = ["1", "0", "0", "0", "1", "0"], ["1", "0", "0", "0", "0.88", "-0.47"]
CORONAL, SAGITTAL = ["1", "0", "0", "0", "0", "-1"], ["0", "1", "0", "0", "0", "-1"]


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"ImageOrientationPatient": AXIAL}, None),
        ({"ImageOrientationPatient": TILTED}, None),
        ({"ImageOrientationPatient": CORONAL}, "plane"),
        ({"ImageOrientationPatient": SAGITTAL}, "plane"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "scout"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TOPOGRAM"]}, "scout"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary capture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1"}, "another SOP class"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, None),
    ],
)
def test_ct_that_is_no_axial_slice(attributes: dict[str, Any], words: str | None) -> None:
    data = image(**HOUNSFIELD, **attributes)
    if words is None:
        (slice_,) = _images(data)
        assert slice_.header is not None and slice_.header.modality is Modality.CT
        return
    outcome = rejected(data)
    assert outcome.reason is Why.OTHER_MODALITY
    assert words in outcome.detail


def test_an_enhanced_ct_has_its_orientation_in_functional_groups() -> None:
    plane, shared = Dataset(), Dataset()
    plane.ImageOrientationPatient = CORONAL
    shared.PlaneOrientationSequence = Sequence([plane])
    data = image(**HOUNSFIELD, SharedFunctionalGroupsSequence=Sequence([shared]))
    assert rejected(data).reason is Why.OTHER_MODALITY


def test_a_coloured_ct_is_no_slice() -> None:
    pixels = np.repeat(dicoms.values(bits=8)[..., None], 3, axis=2)
    data = image(pixels, PhotometricInterpretation="RGB", PlanarConfiguration=0, **HOUNSFIELD)
    assert rejected(data).reason is Why.OTHER_MODALITY


def _images(data: bytes) -> list[StandardImage]:
    images = images_from_bytes(data, IngestSettings(size=32))
    assert isinstance(images, list), images
    return images


def segmented(bits: int) -> tuple[dict[str, Any], int]:
    """Colour tables in segments of every kind (PS3.3, C.7.9.2), and their number of entries."""
    kind, top = ("<u2", 65535) if bits == 16 else ("u1", 255)
    # Discrete, linear, then the linear one once more from where that ended, twice.
    head = [0, 2, 0, top // 7, 1, 60, top // 2]
    place = 4 * (2 if bits == 16 else 1)
    address = [place & 0xFFFF, 0] if bits == 16 else [place, 0, 0, 0]
    words = np.array([*head, 2, 1, *address, 1, 90, top, 0, 1, 5], kind)
    tables: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    count = 2 + 60 + 60 + 90 + 1
    for colour in ("Red", "Green", "Blue"):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [count, 3, bits]
        data = words.tobytes() + bytes(len(words.tobytes()) % 2)
        tables[f"Segmented{colour}PaletteColorLookupTableData"] = data
    return tables, count


@pytest.mark.parametrize("bits", [8, 16])
def test_segmented_palettes_unfold(bits: int) -> None:
    tables, count = segmented(bits)
    pixels = dicoms.values(1, bits=8)
    data = image(pixels, **tables)
    top = 2**bits - 1
    first, middle = top // 7, top // 2
    by_hand = np.concatenate([
        [0, first], np.linspace(first, middle, 61)[1:], np.full(60, middle),
        np.linspace(middle, top, 91)[1:], [5],
    ])  # fmt: skip
    assert len(by_hand) == count
    exact = by_hand[np.clip(pixels.astype(int) - 3, 0, count - 1)] / top * 255
    assert np.abs(read(data).grey - exact).max() <= 1
    if bits == 8:  # pydicom takes offsets of 16-bit tables for words
        theirs = apply_color_lut(pixels, pydicom.dcmread(io.BytesIO(data)))
        assert np.abs(theirs[..., 0] - exact).max() <= 1


def test_a_palette_that_is_missing_cut_or_endless_is_a_reject() -> None:
    pixels = dicoms.values(1, bits=8)
    tables, count = segmented(16)
    missing = image(pixels, PhotometricInterpretation="PALETTE COLOR")
    more = {**tables, "RedPaletteColorLookupTableDescriptor": [count + 1, 3, 16]}
    endless = np.array([0, 1, 7, *[2, 65535, 0, 0] * 30], "<u2").tobytes()
    bomb = {**tables, "SegmentedRedPaletteColorLookupTableData": endless}
    for data in (missing, image(pixels, **more), image(pixels, **bomb)):
        outcome = rejected(data)
        assert outcome.reason is Why.UNREADABLE
        assert "colour table" in outcome.detail


@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS, JPEG_2000, dicoms.RLE])
@pytest.mark.parametrize("other", [JPEG, JPEG_LS, JPEG_2000, dicoms.RLE])
def test_a_frame_of_another_codec_is_named(syntax: str, other: str) -> None:
    pixels = dicoms.values(0, bits=8)
    data = dicoms.file_of(dicoms.dataset(pixels), pixels, syntax)
    swapped = _under(data, syntax, other)
    if syntax == other:
        assert read(swapped).grey.shape == pixels.shape
        return
    outcome = rejected(swapped)
    assert outcome.reason is Why.UNREADABLE
    assert other in outcome.detail
    assert {JPEG: "is JPEG", JPEG_LS: "is JPEG-LS", JPEG_2000: "is JPEG 2000",
            dicoms.RLE: "is RLE"}[syntax] in outcome.detail  # fmt: skip


def _under(data: bytes, syntax: str, other: str) -> bytes:
    """A file whose meta group names another syntax than its pixels are in."""
    before = syntax.encode() + bytes(len(syntax) % 2)
    after = other.encode() + bytes(len(other) % 2)
    element = b"\x02\0\x10\0UI"
    return data.replace(
        element + len(before).to_bytes(2, "little") + before,
        element + len(after).to_bytes(2, "little") + after,
    )


def test_encapsulated_pixels_under_an_uncompressed_syntax_are_named() -> None:
    outcome = rejected(_under(dicoms.sample(JPEG_LS), JPEG_LS, dicoms.EXPLICIT))
    assert outcome.reason is Why.UNREADABLE
    assert "Explicit VR Little Endian" in outcome.detail and "JPEG-LS" in outcome.detail


@pytest.mark.parametrize("syntax", [dicoms.EXPLICIT, dicoms.IMPLICIT])
def test_elements_encoded_otherwise_than_the_syntax_says(syntax: str) -> None:
    other = dicoms.IMPLICIT if syntax == dicoms.EXPLICIT else dicoms.EXPLICIT
    plain = dicoms.image(syntax=syntax, **WINDOW)
    outcome = read(_under(plain, syntax, other))
    assert np.array_equal(outcome.grey, read(plain).grey)
    assert outcome.notes == Note.ENCODING and read(plain).notes is None


ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"


def encapsulated(
    volume: NDArray[Any], pieces: int, table: list[int], *, closed: bool = True
) -> bytes:
    """A CT of JPEG-LS frames, each in several fragments, with a table of basic offsets."""
    encode = dicoms.ENCODERS[JPEG_LS]
    body = _item(np.array(table, "<u4").tobytes())
    for frame in volume:
        coded = encode(frame)
        cuts = [len(coded) * n // pieces // 2 * 2 for n in range(pieces)] + [len(coded)]
        body += b"".join(_item(coded[a:b]) for a, b in pairwise(cuts))
    made = dicoms.dataset(volume, NumberOfFrames=len(volume), **HOUNSFIELD)
    whole = dicoms.file_of(made, volume, JPEG_LS)
    place = whole.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff")
    return whole[: place + 12] + body + (END if closed else b"")


def _item(data: bytes) -> bytes:
    data += bytes(len(data) % 2)
    return ITEM + len(data).to_bytes(4, "little") + data


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("table", [[], [0, 10, 20], [0, 0, 0], [5, 1, 99999], [0]])
@pytest.mark.parametrize("closed", [True, False])
def test_frames_are_found_whatever_the_offset_table(
    pieces: int, table: list[int], closed: bool
) -> None:
    volume = np.stack([dicoms.values(n) for n in (0, 5, 9)])
    images = _images(encapsulated(volume, pieces, table, closed=closed))
    plain = _images(image(volume, NumberOfFrames=3, **HOUNSFIELD))
    assert [np.array_equal(a.pixels, b.pixels) for a, b in zip(images, plain, strict=True)] == [
        True
    ] * 3
    notes = [] if closed else [Note.NO_DELIMITER]
    assert images[0].notes == ("; ".join(notes + ([Note.OFFSET_TABLE] if table else [])) or None)


def test_a_right_offset_table_is_used_where_fragments_do_not_tell() -> None:
    """RLE frames in two fragments each begin like nothing that could be recognised again."""
    volume = np.stack([dicoms.values(n) for n in (0, 5)])
    coded = [dicoms.ENCODERS[dicoms.RLE](frame) for frame in volume]
    halves = [half for frame in coded for half in (frame[:200], frame[200:])]
    offset = sum(8 + len(half) + len(half) % 2 for half in halves[:2])
    made = dicoms.dataset(volume, NumberOfFrames=2, **HOUNSFIELD)
    whole = dicoms.file_of(made, volume, dicoms.RLE)
    start = whole.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12
    table = _item(np.array([0, offset], "<u4").tobytes())
    images = _images(whole[:start] + table + b"".join(map(_item, halves)) + END)
    plain = _images(image(volume, NumberOfFrames=2, **HOUNSFIELD))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(images, plain, strict=True))
    assert images[0].notes is None


@pytest.mark.parametrize("syntax", [JPEG, JPEG_LS, JPEG_2000, dicoms.RLE])
def test_a_compressed_file_cut_in_its_frame_is_truncated(syntax: str) -> None:
    data = dicoms.sample(syntax)
    whole = data[:-8]  # without the delimiter
    assert read(whole).notes == Note.NO_DELIMITER
    for kept in (len(whole) - 40, len(whole) - len(whole) // 4):
        assert rejected(data[:kept]).reason is Why.TRUNCATED
