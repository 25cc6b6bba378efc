"""DICOM images: transfer syntaxes, transforms in their order, limits, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.sequence import Sequence

from imaging import dicoms
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.schemas import Modality, View
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging.decode import Decoded, Rejected, decode
from pulmospark.imaging.dicom.greyscale import CtWindow
from pulmospark.imaging.dicom.reader import open_dicom
from pulmospark.imaging.image import StandardImage, images_from_bytes
from pulmospark.imaging.sniff import sniff

WINDOW: dict[str, Any] = {"WindowCenter": 1500, "WindowWidth": 2000}


def grey(data: bytes, ct_window: CtWindow = "lung") -> NDArray[np.uint8]:
    found = decode(data, at_least=32, ct_window=ct_window)
    assert isinstance(found, Decoded), found
    assert found.format == "dicom"
    return found.grey


def reason(data: bytes) -> Why:
    found = decode(data, at_least=32)
    assert isinstance(found, Rejected), "decoded"
    assert len(found.detail) <= limits.DETAIL_CHARS_MAX
    return found.reason


def made(pixels: NDArray[Any], **told: Any) -> bytes:
    return dicoms.file_of(dicoms.dataset(pixels, **told), pixels)


def lut(entries: Iterable[int], first: int = 0, order: str = "") -> Dataset:
    """A table of 4,096 entries, as numbers or, with their ``order``, as words."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, first, 16])
    if order:
        item.add_new("LUTData", "OW", np.fromiter(entries, f"{order}u2").tobytes())
    else:
        item.add_new("LUTData", "US", list(entries))
    return item


def theirs_of(data: bytes) -> NDArray[np.float64]:
    """Both transforms as pydicom applies them, of tables of 16 bits, as levels of 8."""
    told = pydicom.dcmread(dicoms.as_file(data))
    found = apply_voi_lut(apply_modality_lut(told.pixel_array, told), told)
    return np.asarray(found / 65535 * 255)


@pytest.mark.parametrize(
    "syntax",
    [dicoms.EXPLICIT, dicoms.IMPLICIT, dicoms.BIG_ENDIAN, dicoms.DEFLATED, dicoms.RLE,
     "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"],
)  # fmt: skip
def test_every_lossless_syntax_gives_the_same_image(syntax: str) -> None:
    assert np.array_equal(
        grey(dicoms.image(syntax=syntax, **WINDOW)), grey(dicoms.image(**WINDOW))
    )


@pytest.mark.parametrize("syntax", [dicoms.EXPLICIT, dicoms.IMPLICIT, dicoms.BIG_ENDIAN])
def test_a_file_without_preamble_and_meta_is_read(syntax: str) -> None:
    whole = dicoms.image(syntax=syntax, **WINDOW)
    data = dicoms.body_of(whole)
    assert sniff(data[: limits.SNIFF_BYTES]) == "dicom"
    assert np.array_equal(grey(data), grey(whole))


def test_a_preamble_that_looks_like_a_tiff_is_no_tiff() -> None:
    whole = dicoms.image()
    assert sniff(b"II*\0" + whole[4:132]) == "dicom"


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_pydicom(function: str) -> None:
    data = dicoms.image(VOILUTFunction=function, RescaleSlope="0.5", RescaleIntercept="-100",
                       WindowCenter=800, WindowWidth=900)  # fmt: skip
    told = pydicom.dcmread(dicoms.as_file(data))
    theirs = apply_voi_lut(apply_modality_lut(told.pixel_array, told), told)
    low, high = -100, 0.5 * 4095 - 100  # pydicom's range: of the values that 12 bits can have
    scaled = (theirs - low) / (high - low) * 255
    assert np.abs(grey(data) - scaled).max() <= 1


def test_a_voi_lut_goes_before_the_window_and_a_modality_lut_before_both() -> None:
    voi, modality = lut([(n * 7919) % 65536 for n in range(4096)]), lut(range(4095, -1, -1))
    modality.ModalityLUTType = "US"
    data = dicoms.image(VOILUTSequence=Sequence([voi]), ModalityLUTSequence=Sequence([modality]),
                       **WINDOW)  # fmt: skip
    assert np.abs(grey(data) - theirs_of(data)).max() <= 1


@pytest.mark.parametrize(("syntax", "order"), [(dicoms.EXPLICIT, "<"), (dicoms.BIG_ENDIAN, ">")])
def test_tables_of_words_are_read_in_the_files_order(syntax: str, order: str) -> None:
    voi = lut(((n * 7919) % 65536 for n in range(4096)), order=order)
    modality = lut(range(4095, -1, -1), order=order)
    modality.ModalityLUTType = "US"
    data = dicoms.image(syntax=syntax, VOILUTSequence=Sequence([voi]),
                       ModalityLUTSequence=Sequence([modality]))  # fmt: skip
    assert np.abs(grey(data) - theirs_of(data)).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("syntax", "order"), [(dicoms.EXPLICIT, "<"), (dicoms.BIG_ENDIAN, ">")])
def test_palettes_are_read_in_the_files_order(syntax: str, order: str, bits: int) -> None:
    entries = np.random.default_rng(3).integers(0, 2**bits, (3, 256))
    if bits == 8:  # two entries a word, the first in its low byte
        words = entries.astype(np.uint8).view("<u2").astype(f"{order}u2")
    else:
        words = entries.astype(f"{order}u2")
    told: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, data in zip(("Red", "Green", "Blue"), words, strict=True):
        told[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        told[f"{colour}PaletteColorLookupTableData"] = data.tobytes()
    pixels = dicoms.values(1, bits=8)
    found = grey(dicoms.file_of(dicoms.dataset(pixels, **told), pixels, syntax))
    luma = np.array([0.299, 0.587, 0.114]) @ entries / (2**bits - 1) * 255
    assert np.abs(found - luma[pixels]).max() <= 1


def test_a_table_of_unsigned_values_may_begin_above_32767() -> None:
    pixels = dicoms.values(1) + np.uint16(40_000)
    voi = lut(((n * 7919) % 65536 for n in range(4096)), first=40_000)
    data = made(pixels, BitsStored=16, HighBit=15, VOILUTSequence=Sequence([voi]))
    assert np.abs(grey(data) - theirs_of(data)).max() <= 1


@pytest.mark.parametrize("told", [{"PixelRepresentation": 1}, {"RescaleIntercept": "-2048"}])
def test_a_table_of_signed_values_may_have_its_beginning_written_as_unsigned(
    told: dict[str, Any],
) -> None:
    entries = [(n * 7919) % 65536 for n in range(4096)]
    pixels = dicoms.values(1)
    stored = (pixels.astype(np.int16) - 2048) if "PixelRepresentation" in told else pixels
    voi = lut(entries, first=65536 - 2048)
    data = made(stored, RescaleSlope="1", VOILUTSequence=Sequence([voi]), **told)
    assert np.abs(grey(data) - np.take(entries, pixels) / 65535 * 255).max() <= 1


def test_the_first_of_several_windows_is_taken() -> None:
    both = dicoms.image(WindowCenter=[1500, 300], WindowWidth=[2000, 50])
    assert np.array_equal(grey(both), grey(dicoms.image(**WINDOW)))


def test_monochrome1_is_the_inverse_after_the_window() -> None:
    white = grey(dicoms.image(PhotometricInterpretation="MONOCHROME1", **WINDOW))
    assert np.array_equal(white, 255 - grey(dicoms.image(**WINDOW)))


def test_the_same_image_under_both_interpretations(shared_data: Path) -> None:
    folder = shared_data / "dicom-cxr"
    one = grey((folder / "rsna_cr_jpegbaseline_fakemono1_1024.dcm").read_bytes())
    two = grey((folder / "rsna_cr_jpegbaseline_mono2_1024.dcm").read_bytes())
    assert np.array_equal(one, 255 - two)
    assert two[300:700].mean() > two[:20].mean() or two.std() > 20


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_no_part_of_the_window(photometric: str) -> None:
    plain = dicoms.values(2)
    padded = plain.copy()
    padded[:, :9] = 60_000
    told = {"PhotometricInterpretation": photometric, "BitsStored": 16, "HighBit": 15}
    found = grey(made(padded, PixelPaddingValue=60_000, **told))
    assert not found[:, :9].any()
    assert np.ptp(found[:, 9:]) > 250
    assert np.ptp(grey(made(padded, **told))[:, 9:]) < 50


@pytest.mark.parametrize("syntax", [dicoms.EXPLICIT, dicoms.BIG_ENDIAN, dicoms.RLE])
@pytest.mark.parametrize("limit", [None, 63_000])
def test_padding_may_lie_beyond_the_stored_bits(syntax: str, limit: int | None) -> None:
    plain = dicoms.values(2)
    padded = plain.copy()
    padded[:, :9] = 63_536  # in 12 bits 2096, a value like any other
    told = {"PixelPaddingValue": 63_536, "PixelPaddingRangeLimit": limit}
    for window in ({}, WINDOW):
        image = dicoms.dataset(padded, **told, **window)
        found = grey(dicoms.file_of(image, padded, syntax))
        assert not found[:, :9].any()
        expected = grey(made(plain[:, 9:], **window))
        assert np.array_equal(found[:, 9:], expected)


def test_bits_above_those_stored_are_left_out() -> None:
    pixels = dicoms.values(1)
    overlaid = pixels | np.uint16(0xA000)
    assert np.array_equal(grey(made(overlaid, **WINDOW)), grey(made(pixels, **WINDOW)))


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("left", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_a_name_of_halved_colours_over_whole_ones(left: str, planar: int) -> None:
    """What is left behind by programs that unpack a JPEG."""
    luma = dicoms.values(1, bits=8)
    pixels = np.stack([luma, np.roll(luma, 5, 0), np.roll(luma, 9, 1)], axis=-1)
    laid = np.ascontiguousarray(pixels.transpose(2, 0, 1)) if planar else pixels
    told = {"PlanarConfiguration": planar}
    image = dicoms.dataset(pixels, PhotometricInterpretation=left, **told)
    assert np.array_equal(grey(dicoms.file_of(image, laid)), luma)
    true = dicoms.dataset(pixels, PhotometricInterpretation="YBR_FULL", **told)
    read = pydicom.dcmread(dicoms.as_file(dicoms.file_of(true, laid)))
    assert np.array_equal(pixel_array(read, raw=True)[..., 0], luma)


def test_halved_colours() -> None:
    luma = dicoms.values(1, bits=8)
    pairs = np.full((64, 32, 4), 128, np.uint8)
    pairs[..., :2] = luma.reshape(64, 32, 2)
    image = dicoms.dataset(np.zeros((64, 64, 3), np.uint8), PlanarConfiguration=0,
                          PhotometricInterpretation="YBR_FULL_422")  # fmt: skip
    assert np.array_equal(grey(dicoms.file_of(image, pairs)), luma)


def test_a_high_bit_elsewhere_moves_the_values() -> None:
    pixels = dicoms.values(1)
    moved = made(pixels << np.uint16(4), HighBit=15, **WINDOW)
    assert np.array_equal(grey(moved), grey(made(pixels, **WINDOW)))


@pytest.mark.parametrize("bits", [9, 10, 13, 15, 16])
def test_odd_depths_and_signs(bits: int) -> None:
    pixels = (dicoms.values(1, bits=bits).astype(np.int32) - 2 ** (bits - 1)).astype(np.int16)
    told = {"WindowCenter": 0, "WindowWidth": 2**bits}
    data = made(pixels, BitsStored=bits, HighBit=bits - 1, **told)
    exact = (pixels + 0.5) / (2**bits - 1) + 0.5
    assert np.abs(grey(data) - exact * 255).max() <= 1


def test_ct_windows() -> None:
    hounsfield = np.linspace(-1024, 600, 64 * 64).reshape(64, 64).astype(np.int16)
    data = made(hounsfield, Modality="CT", BitsStored=16, HighBit=15, RescaleIntercept="0",
                RescaleSlope="1", WindowCenter=[100, 0], WindowWidth=[100, 10])  # fmt: skip
    for window, centre, width in (("lung", -600, 1500), ("soft", 40, 400)):
        exact = np.clip((hounsfield - centre) / width + 0.5, 0, 1) * 255
        assert np.abs(grey(data, window) - exact).max() <= 1  # type: ignore[arg-type]
    exact = np.clip((hounsfield - 99.5) / 99 + 0.5, 0, 1) * 255
    assert np.abs(grey(data, "header") - exact).max() <= 1


def test_frames_of_a_ct_are_slices_and_of_a_image_none() -> None:
    volume = np.stack([dicoms.values(n) for n in range(3)])
    told = {"NumberOfFrames": 3, "InstanceNumber": 9, "PatientID": "x"}
    data = made(volume, Modality="CT", RescaleIntercept="-1024", **told)
    found = images_from_bytes(data, IngestSettings(size=32))
    assert isinstance(found, list)
    assert [(image.frame, image.header and image.header.slice_index) for image in found] == [
        (1, 1), (2, 2), (3, 3),
    ]  # fmt: skip
    assert len({image.image_id for image in found}) == 3
    single = made(volume[1], Modality="CT", RescaleIntercept="-1024")
    (alone,) = _images(single)
    assert np.array_equal(alone.pixels, found[1].pixels)
    assert reason(data) is Why.ANIMATED
    assert reason(made(volume, **told)) is Why.ANIMATED


def _images(data: bytes) -> list[StandardImage]:
    found = images_from_bytes(data, IngestSettings(size=32))
    assert isinstance(found, list), found
    return found


def coded(value: str, **attributes: Any) -> Sequence:
    """A sequence of one item with a code of SNOMED CT."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = value, "SCT"
    for keyword, told in attributes.items():
        setattr(item, keyword, told)
    return Sequence([item])


RECUMBENT, SUPINE, PRONE = "102538003", "40199007", "1240000"
MODIFIER = "PatientOrientationModifierCodeSequence"


def lying(modifier: str) -> dict[str, Any]:
    """AP, the patient lying as the modifier says."""
    orientation = coded(RECUMBENT, **{MODIFIER: coded(modifier)})
    return {"ViewPosition": "AP", "PatientOrientationCodeSequence": orientation}


@pytest.mark.parametrize(
    ("told", "view"),
    [
        ({"ViewPosition": "PA"}, View.PA),
        ({"ViewPosition": "AP"}, View.AP),
        (lying(SUPINE), View.AP_SUPINE),
        (lying(PRONE), View.AP),
        ({"ViewPosition": "AP", MODIFIER: coded(SUPINE)}, View.AP_SUPINE),
        ({"ViewPosition": "LL"}, View.LATERAL),
        ({"PatientOrientation": ["L", "F"]}, View.FRONTAL),
        ({"PatientOrientation": ["A", "F"]}, View.LATERAL),
        ({"PatientOrientation": ["L", "P"]}, View.UNKNOWN),
        ({"Modality": "CT"}, View.AXIAL),
        ({}, View.UNKNOWN),
    ],
)
def test_the_view_is_told(told: dict[str, Any], view: View) -> None:
    assert open_dicom(dicoms.image(**told)).facts.view is view


def test_facts() -> None:
    data = dicoms.image(ViewCodeSequence=coded("272479007"), PatientAge="011M", PatientSex="F",
                       BurnedInAnnotation="YES", ImageLaterality="R")  # fmt: skip
    facts = open_dicom(data).facts
    assert (facts.view, facts.sex, facts.burned_in, facts.laterality) == (View.PA, "F", True, "R")
    assert facts.age == pytest.approx(11 / 12)
    assert facts.modality is Modality.XRAY
    assert open_dicom(dicoms.image(PatientAge="097Y")).facts.age == limits.PSEUDONYM_AGE_MAX
    assert open_dicom(dicoms.image(PatientAge="250Y")).facts.age is None


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = dicoms.values()
    bomb = dicoms.file_of(dicoms.dataset(pixels, Rows=60_000, Columns=60_000), pixels)
    assert reason(bomb) is Why.TOO_MANY_PIXELS
    frame = dicoms.image(syntax="1.2.840.10008.1.2.4.90", Rows=128, Columns=128)
    assert reason(frame) is Why.UNREADABLE  # the codestream says 64 x 64
    assert reason(dicoms.image(Modality="MR")) is Why.OTHER_MODALITY
    scout = dicoms.image(Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert reason(scout) is Why.OTHER_MODALITY
    assert reason(dicoms.report()) is Why.NO_PIXELS
    whole = dicoms.image()
    assert reason(whole[: len(whole) // 2]) is Why.TRUNCATED
    deflated = dicoms.image(syntax=dicoms.DEFLATED)
    assert reason(deflated[:-300]) is Why.TRUNCATED
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 1000)
    assert reason(deflated) is Why.TOO_MANY_BYTES
