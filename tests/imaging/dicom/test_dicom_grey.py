"""From stored values to grey, pixel by pixel after PS3.3 and PS3.5, for every form of pixels."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from imaging import dicoms
from pulmospark.core.schemas import Note
from pulmospark.imaging.dicom import greyscale
from pulmospark.imaging.dicom.greyscale import chain_of, grey_of
from pulmospark.imaging.dicom.pixel_data import Stored
from pulmospark.imaging.dicom.reader import Frame, open_dicom

SIDE = 16


def _file(raw: NDArray[Any], **told: Any) -> bytes:
    return dicoms.file_of(dicoms.dataset(raw, **told), raw, loose=True)


def _frame(raw: NDArray[Any], **told: Any) -> Frame:
    return open_dicom(_file(raw, **told)).frame(0, "lung")


def _meant(raw: int, allocated: int, stored: int, high: int, signed: bool) -> int:
    """PS3.5, 8.1.1: the used bits, with their sign."""
    value = (raw >> (high + 1 - stored)) & ((1 << stored) - 1)
    return value - (1 << stored) if signed and value >> (stored - 1) else value


def _whole(raw: int, allocated: int, signed: bool) -> int:
    return raw - (1 << allocated) if signed and raw >> (allocated - 1) else raw


def _windowed(value: float, centre: float, width: float, function: str) -> float:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return 1 / (1 + math.exp(-4 * (value - centre) / width))
    if function == "LINEAR_EXACT":
        if value <= centre - width / 2:
            return 0.0
        return 1.0 if value > centre + width / 2 else (value - centre) / width + 0.5
    if value <= centre - 0.5 - (width - 1) / 2:
        return 0.0
    if value > centre - 0.5 + (width - 1) / 2:
        return 1.0
    return (value - (centre - 0.5)) / (width - 1) + 0.5


def _expected(
    raw: NDArray[Any],
    *,
    stored: int,
    high: int,
    signed: bool = False,
    slope: float = 1.0,
    intercept: float = 0.0,
    window: tuple[float, float, str] | None = None,
    photometric: str = "MONOCHROME2",
    padding: tuple[int, int] | None = None,
) -> NDArray[np.float64]:
    """Levels 0 to 255, not rounded, pixel by pixel in Python's whole numbers."""
    allocated = 8 * raw.dtype.itemsize
    bits = [[int(v) % (1 << allocated) for v in row] for row in raw.tolist()]
    levels = np.empty(raw.shape)
    scaled: dict[tuple[int, int], float] = {}
    for row, line in enumerate(bits):
        for column, bit in enumerate(line):
            meant = _meant(bit, allocated, stored, high, signed)
            if padding is not None and (
                padding[0] <= _whole(bit, allocated, signed) <= padding[1]
                or padding[0] <= meant <= padding[1]
            ):
                continue
            scaled[row, column] = meant * slope + intercept
    there = sorted(scaled.values())
    low, high_end = np.percentile(there, (0.5, 99.5))
    for row in range(raw.shape[0]):
        for column in range(raw.shape[1]):
            if (row, column) not in scaled:
                levels[row, column] = 0.0
                continue
            value = scaled[row, column]
            if window is not None:
                level = _windowed(value, *window)
            elif stored == 8 and not signed and (slope, intercept) == (1.0, 0.0):
                level = value / 255
            else:
                level = (value - low) / (high_end - low)
            level = min(max(level, 0.0), 1.0) * 255
            levels[row, column] = 255 - level if photometric == "MONOCHROME1" else level
    return levels


FORMS = [
    # allocated, stored, high, signed
    (8, 8, 7, False),
    (8, 6, 5, False),
    (8, 6, 7, False),
    (8, 8, 7, True),
    (8, 5, 6, True),
    (16, 12, 11, False),
    (16, 12, 15, False),
    (16, 12, 13, True),
    (16, 16, 15, False),
    (16, 16, 15, True),
    (16, 10, 9, True),
    (32, 32, 31, False),
    (32, 32, 31, True),
    (32, 20, 19, False),
    (32, 14, 17, False),
    (32, 16, 15, True),
    (32, 24, 31, True),
]


def _drawn(allocated: int, stored: int, high: int, signed: bool) -> NDArray[Any]:
    """Random values of the used bits, the others nought; of 32 bits some far apart."""
    random = np.random.default_rng(allocated + stored + high)
    used = random.integers(0, 1 << stored, (SIDE, SIDE), dtype=np.uint64)
    used[0, :2] = 0, (1 << stored) - 1
    whole = (used << np.uint64(high + 1 - stored)) % (1 << allocated)
    if signed and high < allocated - 1:  # the sign is written on in the bits above
        negative = used >> np.uint64(stored - 1) > 0
        above = ((1 << allocated) - 1) ^ ((1 << (high + 1)) - 1)
        whole[negative] |= np.uint64(above)
    return whole.astype(f"u{allocated // 8}").view(f"{'i' if signed else 'u'}{allocated // 8}")


@pytest.mark.parametrize("shown", ["window", "exact", "sigmoid", "percentiles", "rescaled"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form)))
def test_grey_is_that_of_the_standard(
    form: tuple[int, int, int, bool], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stored, high, signed = form
    raw = _drawn(*form)
    told: dict[str, Any] = {"BitsStored": stored, "HighBit": high}
    middle = 0 if signed else 1 << (stored - 1)
    slope, intercept, window = 1.0, 0.0, None
    if shown in {"rescaled", "window"}:
        slope, intercept = 0.5, -20.0
        told |= {"RescaleSlope": "0.5", "RescaleIntercept": "-20"}
    if shown not in {"rescaled", "percentiles"}:
        function = {"window": "", "exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}[shown]
        centre, width = float(int(middle * slope + intercept)), float(1 << (stored - 2))
        window = (centre, width, function)
        told |= {"WindowCenter": str(int(centre)), "WindowWidth": str(int(width))}
        told |= {"VOILUTFunction": function} if function else {}
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        expected = _expected(
            raw, stored=stored, high=high, signed=signed, slope=slope, intercept=intercept,
            window=window, photometric=photometric,
        )  # fmt: skip
        for strip in (1 << 20, 100):  # pixels that are worked on at once
            monkeypatch.setattr(greyscale, "_STRIP_PIXELS", strip)
            found = _frame(raw, **told, PhotometricInterpretation=photometric)
            assert found.notes is None
            assert np.abs(found.grey - expected).max() <= 0.5 + 1e-6
            assert (found.height, found.width) == (SIDE, SIDE)


@pytest.mark.parametrize("form", [f for f in FORMS if f[0] > 8 and f[2] == f[1] - 1])
@pytest.mark.parametrize("windowed", [True, False])
def test_padding_of_every_form(form: tuple[int, int, int, bool], windowed: bool) -> None:
    _, stored, high, signed = form
    raw = _drawn(*form)
    # Padding has 16 bits in the dictionary, whatever the pixels have.
    top = (1 << (min(stored, 16) - 1)) - 1 if signed else (1 << min(stored, 16)) - 1
    raw[3:6, :] = top
    raw[7, :] = top - 1
    told: dict[str, Any] = {"BitsStored": stored, "HighBit": high}
    window = None
    if windowed:
        window = (0.0, float(1 << (stored - 2)), "")
        told |= {"WindowCenter": "0", "WindowWidth": str(1 << (stored - 2))}
    for limit, photometric in itertools.product((None, top - 1), ("MONOCHROME1", "MONOCHROME2")):
        padding = {"PixelPaddingValue": top, "PixelPaddingRangeLimit": limit}
        data = _file(raw, **told, **padding, PhotometricInterpretation=photometric)
        found = open_dicom(data).frame(0, "lung")
        first = top if limit is None else limit
        expected = _expected(
            raw, stored=stored, high=high, signed=signed, window=window,
            photometric=photometric, padding=(first, top),
        )  # fmt: skip
        assert np.abs(found.grey - expected).max() <= 0.5 + 1e-6
        assert not found.grey[3:6].any()


def test_a_window_that_shows_nothing_gives_way_to_percentiles() -> None:
    for form in ((16, 12, 11, False), (32, 16, 15, False), (32, 32, 31, False)):
        raw = _drawn(*form)
        told = {"BitsStored": form[1], "HighBit": form[2]}
        beside = {"WindowCenter": "-9000", "WindowWidth": "10"}
        found = _frame(raw, **told, **beside)
        assert found.notes == Note.WINDOW_EMPTY
        assert np.array_equal(found.grey, _frame(raw, **told).grey)
    # Of values that are what they show, that is themselves.
    raw = _drawn(8, 8, 7, False)
    found = _frame(raw, WindowCenter="-9000", WindowWidth="10")
    assert found.notes == Note.WINDOW_EMPTY
    assert np.array_equal(found.grey, raw)


def test_an_image_of_one_value_is_black_between_percentiles() -> None:
    for kind in (np.uint16, np.uint32):
        flat = np.full((SIDE, SIDE), 700, kind)
        assert not _frame(flat).grey.any()
        # All but a few pixels: percentiles are equal, so that the ends are taken.
        flat[0, 0] = 900
        found = _frame(flat).grey
        assert found[0, 0] == 255
        assert np.count_nonzero(found) == 1
        padded = np.full((SIDE, SIDE), 700, kind)
        assert not _frame(padded, PixelPaddingValue=700).grey.any()


def test_percentiles_are_those_of_every_nth_row_and_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greyscale, "_SAMPLE_PIXELS", SIDE * SIDE // 9)
    for kind in (np.uint16, np.uint32):
        raw = np.random.default_rng(5).integers(0, 4000, (SIDE, SIDE)).astype(kind)
        low, high = np.percentile(raw[::3, ::3].astype(float), (0.5, 99.5))
        expected = np.clip((raw - low) / (high - low), 0, 1) * 255
        assert np.abs(_frame(raw).grey - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("width", "function", "below", "above"),
    [("1", "", 99, 100), ("1", "LINEAR", 99, 100), ("0.5", "", 99, 100)],
)
def test_a_window_of_one_level_is_a_threshold(
    width: str, function: str, below: int, above: int
) -> None:
    raw = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
    told = {"VOILUTFunction": function} if function else {}
    found = _frame(raw, WindowCenter="100", WindowWidth=width, **told).grey
    assert np.array_equal(found, np.where(raw >= above, 255, 0))
    assert found[below // SIDE, below % SIDE] == 0


def test_an_unknown_function_is_linear_and_noted() -> None:
    raw = _drawn(16, 12, 11, False)
    window = {"WindowCenter": "2000", "WindowWidth": "900"}
    found = _frame(raw, **window, VOILUTFunction="STRANGE")
    assert found.notes == Note.WINDOW_FUNCTION
    assert np.array_equal(found.grey, _frame(raw, **window).grey)
    lower = _frame(raw, **window, VOILUTFunction="sigmoid")
    assert lower.notes is None
    assert np.array_equal(lower.grey, _frame(raw, **window, VOILUTFunction="SIGMOID").grey)


def test_an_extreme_sigmoid_does_not_overflow() -> None:
    raw = np.asarray([[0, 65535] * (SIDE // 2)] * SIDE, np.uint16)
    found = _frame(raw, BitsStored=16, HighBit=15, WindowCenter="32768", WindowWidth="1",
                   VOILUTFunction="SIGMOID")  # fmt: skip
    assert np.array_equal(found.grey, np.where(raw, 255, 0))


def test_frames_of_one_file_have_windows_and_rescales_of_their_own() -> None:
    volume = np.stack([_drawn(16, 12, 11, False)] * 2)
    frames = []
    for slope, centre in (("1", "1000"), ("2", "3000")):
        item, rescale, voi = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope, "0", "US"
        voi.WindowCenter, voi.WindowWidth = centre, "2000"
        item.PixelValueTransformationSequence = Sequence([rescale])
        item.FrameVOILUTSequence = Sequence([voi])
        frames.append(item)
    image = open_dicom(
        _file(volume, Modality="CT", NumberOfFrames=2,
              PerFrameFunctionalGroupsSequence=Sequence(frames))
    )  # fmt: skip
    for place, (factor, middle) in enumerate(((1.0, 1000.0), (2.0, 3000.0))):
        own = image.frame(place, "header")
        expected = _expected(volume[0], stored=12, high=11, slope=factor,
                             window=(middle, 2000.0, ""))  # fmt: skip
        assert np.abs(own.grey - expected).max() <= 0.5 + 1e-6
        assert own.notes is None
        lung = image.frame(place, "lung")
        exact = np.clip((volume[0] * factor + 600) / 1500 + 0.5, 0, 1) * 255
        assert np.abs(lung.grey - exact).max() <= 0.5 + 1e-6
        assert lung.notes == Note.RESCALE_TYPE


@pytest.mark.parametrize("bits", [(8, 8), (8, 6), (16, 12), (16, 16), (32, 20), (32, 32)])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("strip", [100, 1 << 20])
def test_colours_become_luma(
    bits: tuple[int, int], planar: int, strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greyscale, "_STRIP_PIXELS", strip)
    allocated, stored = bits
    random = np.random.default_rng(stored)
    raw = random.integers(0, 1 << stored, (SIDE, SIDE, 3), dtype=np.uint64)
    raw = raw.astype(f"u{allocated // 8}")
    laid = np.ascontiguousarray(raw.transpose(2, 0, 1)) if planar else raw
    for photometric in ("RGB", "YBR_FULL"):
        made = dicoms.dataset(raw, PhotometricInterpretation=photometric, BitsStored=stored,
                              HighBit=stored - 1, PlanarConfiguration=planar)  # fmt: skip
        found = open_dicom(dicoms.file_of(made, laid)).frame(0, "lung")
        luma = raw[..., 0].astype(float)
        if photometric == "RGB":
            luma = raw.astype(float) @ [0.299, 0.587, 0.114]
        if stored != 8:
            low, high = np.percentile(luma, (0.5, 99.5))
            luma = np.clip((luma - low) / (high - low), 0, 1) * 255
        # OpenCV rounds luma to a whole level first.
        levels = 255 / (1 << min(stored, 16)) if photometric == "RGB" else 0.0
        assert np.abs(found.grey - luma).max() <= 1.0 + 2 * levels
        assert found.notes is None


def test_colours_with_unused_bits_below_and_above() -> None:
    raw = np.random.default_rng(1).integers(0, 1 << 6, (SIDE, SIDE, 3)).astype(np.uint8)
    told: dict[str, Any] = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0,
                            "BitsStored": 6}  # fmt: skip
    plain = _frame(raw, HighBit=5, **told)
    moved = _frame(raw << 1, HighBit=6, **told)
    above = _frame(raw | np.uint8(0x80), HighBit=5, **told)
    assert np.array_equal(moved.grey, plain.grey)
    assert np.array_equal(above.grey, plain.grey)


def test_bits_above_the_used_ones_are_noted_where_they_are_no_sign_or_padding() -> None:
    plain = _drawn(16, 12, 11, False) & np.uint16(0xFFF)
    above = plain.copy()
    above[4, 4] |= np.uint16(0x2000)
    window = {"WindowCenter": "2000", "WindowWidth": "900"}
    assert _frame(above, **window).notes == Note.BITS_MASKED
    assert np.array_equal(_frame(above, **window).grey, _frame(plain, **window).grey)
    assert _frame(plain, **window).notes is None
    # Signed: all ones above a negative value are its sign, and above a positive one are not.
    assert _frame(plain.view(np.int16), **window).notes is None  # the sign is not written on
    low = np.where(plain > 0x7FF, plain | np.uint16(0xF000), plain).view(np.int16)
    assert _frame(low, **window).notes is None
    odd = low.copy()
    odd[4, 4] = np.int16(0x0800 - 1) | np.int16(-0x1000)
    assert _frame(odd, **window).notes == Note.BITS_MASKED
    # Padding beyond the used bits is what it is.
    padded = plain.copy()
    padded[:2] = 0xF000
    assert _frame(padded, PixelPaddingValue=0xF000, **window).notes is None
    assert _frame(padded, PixelPaddingValue=0xF001, **window).notes == Note.BITS_MASKED


@pytest.mark.parametrize(
    ("signed", "below", "above", "clipped"),
    [
        (True, 0, 0, True), (True, 0, 1, True), (True, 0, 512, True),
        (True, 512, 512, True), (True, 513, 0, False), (True, 1, 513, False),
        (False, 0, 0, True), (False, 0, 512, True), (False, 0, 513, False),
    ],
)  # fmt: skip
def test_ripples_of_a_lossy_codec_are_clipped(
    signed: bool, below: int, above: int, clipped: bool
) -> None:
    """By an eighth of the range at most; more is something else in the bits above."""
    raw = _drawn(16, 12, 11, signed).astype(np.int64)
    low, high = (-2048, 2047) if signed else (0, 4095)
    raw[5, 5], raw[6, 6] = high + above, low - below
    kind = np.int16 if signed else np.uint16
    told = {"WindowCenter": "0" if signed else "2048", "WindowWidth": "4096"}
    image = open_dicom(_file(raw.astype(kind), **told))
    notes: set[Note] = set()
    chain = chain_of(image.header, image.form, 0, None, notes)
    stored = Stored(raw.astype(kind).view(np.uint16), 0, 12, is_lossy=True)
    found = grey_of(stored, image.header, image.form, chain, notes)
    if clipped:
        assert notes == set()
        assert (found[5, 5], found[6, 6]) == (255, 0)
        within = np.clip(raw, low, high).astype(kind)
        assert np.array_equal(found, _frame(within, **told).grey)
    else:
        assert notes == {Note.BITS_MASKED}
        assert np.array_equal(found, _frame(raw.astype(kind), **told).grey)
    lossless = Stored(raw.astype(kind).view(np.uint16), 0, 12)
    exact = grey_of(lossless, image.header, image.form, chain, set())
    assert np.array_equal(exact, _frame(raw.astype(kind), **told).grey)
