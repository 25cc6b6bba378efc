"""Lookup tables and palettes of DICOM headers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.sequence import Sequence

from imaging import dicoms
from imaging.dicom_reading import frame_of, header_of, refused
from pulmospark.core import limits
from pulmospark.core.schemas import Note
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging.dicom.lookup_tables import Lut, NoTableError, lut_of, palette_of, unfolded
from pulmospark.imaging.dicom.reader import open_dicom

# Tables of values.


def _item(descriptor: Any, data: Any) -> Dataset:
    item = Dataset()
    if descriptor is not None:
        item.add_new("LUTDescriptor", "US", descriptor)
    if data is not None:
        item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return item


def _lut(*items: Dataset, signed: bool = False) -> tuple[Lut | None, set[Note]]:
    place, notes = Dataset(), set[Note]()
    place.VOILUTSequence = Sequence(items)
    return lut_of(header_of(), place, "VOILUTSequence", signed=signed, notes=notes), notes


@pytest.mark.parametrize(
    ("descriptor", "data", "signed", "first", "entries", "noted"),
    [
        ([4, 10, 16], [0, 1, 40000, 65535], False, 10, [0, 1, 40000, 65535], False),
        ([4, 10, 8], [0, 1, 200, 255], False, 10, [0, 1, 200, 255], False),
        ([4, 10, 8], bytes([0, 1, 200, 255]), False, 10, [0, 1, 200, 255], False),
        # 8 bits that lie in words nevertheless.
        ([4, 10, 8], bytes([0, 0, 1, 0, 200, 0, 255, 0]), False, 10, [0, 1, 200, 255], False),
        ([3, 0, 16], bytes([1, 0, 2, 0, 0, 128, 9]), False, 0, [1, 2, 32768], False),
        ([3, 0, 12], [0, 5, 4095, 7], False, 0, [0, 5, 4095], False),  # one too many
        ([2, 32768, 16], [0, 65535], False, 32768, [0, 65535], False),
        ([2, 32768, 16], [0, 65535], True, -32768, [0, 65535], False),
        ([2, 32767, 16], [0, 65535], True, 32767, [0, 65535], False),
        ([2, 0, 16], [0, 4095], False, 0, [0, 4095], True),
        ([2, 0, 12], [0, 4096], False, 0, [0, 4096], True),
        ([2, 0, 16], [0, 0], False, 0, [0, 0], False),  # all black
        ([2, 0, 1], [0, 1], False, 0, [0, 1], False),
    ],
)
def test_a_table_is_read(
    descriptor: list[int], data: Any, signed: bool, first: int, entries: list[int], noted: bool
) -> None:
    found, notes = _lut(_item(descriptor, data), signed=signed)
    assert found is not None
    assert (found.first, found.entries.tolist()) == (first, entries)
    assert found.top == max(*entries, 1.0)
    assert notes == ({Note.LUT_BITS} if noted else set())
    values = np.asarray([first - 9.0, first, first + 0.6, first + 1.4, first + 99.0])
    expected = [entries[0], entries[0], entries[1], entries[1], entries[-1]]
    assert found.at(values).tolist() == expected


def test_a_table_of_65536_entries_says_0() -> None:
    found, _ = _lut(_item([0, 0, 16], np.arange(65536, dtype="<u2").tobytes()))
    assert found is not None
    assert found.at(np.asarray([0.0, 777.0, 65535.0])).tolist() == [0.0, 777.0, 65535.0]


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [
        (None, [1, 2]),
        ([2, 0, 16], None),
        ([2, 0], [1, 2]),
        ([3, 0, 16], [1, 2]),
        ([3, 0, 16], bytes([1, 0, 2, 0])),
        ([0, 0, 16], [1, 2]),
    ],
)
def test_a_table_that_cannot_be_read(descriptor: Any, data: Any) -> None:
    with pytest.raises(NoTableError, match=r"^VOILUTSequence$"):
        _lut(_item(descriptor, data))


def test_where_there_is_no_table_there_is_none() -> None:
    notes: set[Note] = set()
    header = header_of()
    assert lut_of(header, Dataset(), "VOILUTSequence", signed=False, notes=notes) is None
    assert _lut() == (None, set())
    text = Dataset()
    text.add_new("VOILUTSequence", "LO", "no sequence")
    with pytest.raises(NoTableError, match=r"^VOILUTSequence$"):
        lut_of(header, text, "VOILUTSequence", signed=False, notes=notes)
    odd = _item([2, 0, 16], None)
    odd.add_new("LUTData", "LO", ["a", "b"])
    with pytest.raises(NoTableError):
        _lut(odd)
    word = _item(None, [1, 2])
    word.add_new("LUTDescriptor", "LO", ["2", "x", "16"])
    with pytest.raises(NoTableError, match=r"^VOILUTSequence$"):
        _lut(word)


def test_the_first_of_several_tables_is_taken() -> None:
    found, _ = _lut(_item([2, 0, 16], [3, 65535]), _item([2, 9, 16], [4, 65535]))
    assert found is not None
    assert (found.first, found.entries.tolist()) == (0, [3, 65535])


def test_a_modality_table_goes_before_slope_and_intercept() -> None:
    raw = np.tile(np.arange(16, dtype=np.uint16), (16, 1))
    item = _item([16, 0, 16], [n * n for n in range(16)])
    item.ModalityLUTType = "US"
    told = {"ModalityLUTSequence": Sequence([item]), "WindowCenter": "113", "WindowWidth": "226"}
    for more in ({}, {"RescaleSlope": "3"}):
        found = frame_of(raw, **told, **more)
        exact = np.clip((raw.astype(float) ** 2 - 112.5) / 225 + 0.5, 0, 1) * 255
        assert np.abs(found.grey - exact).max() <= 0.5 + 1e-6
        assert found.notes == Note.LUT_BITS
    # A CT with a table has no Hounsfield units, and keeps its own window.
    ct = frame_of(raw, **told, Modality="CT", RescaleSlope="1", RescaleIntercept="-1024")
    assert np.array_equal(ct.grey, found.grey)
    assert ct.notes == f"{Note.NOT_HOUNSFIELD}; {Note.LUT_BITS}"
    # 8 bits that a table maps are not shown as they are.
    small = np.tile(np.arange(16, dtype=np.uint8), (16, 1))
    bare = frame_of(small, ModalityLUTSequence=Sequence([item]))
    squares = small.astype(float) ** 2
    low, high = np.percentile(squares, (0.5, 99.5))
    assert np.abs(bare.grey - np.clip((squares - low) / (high - low), 0, 1) * 255).max() <= 0.501
    broken = _item([16, 0, 16], [1, 2])
    data = dicoms.file_of(
        dicoms.dataset(raw, ModalityLUTSequence=Sequence([broken])), raw, loose=True
    )
    image = open_dicom(data)
    assert refused(image.frame, 0, "lung") == (
        Why.UNREADABLE, "dicom: its modality lookup table cannot be read",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("told", "note"),
    [
        ({"RescaleSlope": "2"}, Note.RESCALE_INCOMPLETE),
        ({"RescaleIntercept": "5"}, Note.RESCALE_INCOMPLETE),
        ({"RescaleSlope": "2", "RescaleIntercept": "5"}, None),
        ({"RescaleSlope": "0", "RescaleIntercept": "5"}, Note.SLOPE_ZERO),
        ({}, None),
    ],
)
def test_a_rescale_that_lacks_a_half(told: dict[str, str], note: Note | None) -> None:
    raw = np.tile(np.arange(16, dtype=np.uint16), (16, 1))
    slope = float(told.get("RescaleSlope", "1")) or 1.0
    intercept = float(told.get("RescaleIntercept", "0"))
    found = frame_of(raw, **told, WindowCenter="12", WindowWidth="30")
    exact = np.clip((raw * slope + intercept - 11.5) / 29 + 0.5, 0, 1) * 255
    assert np.abs(found.grey - exact).max() <= 0.5 + 1e-6
    assert found.notes == note


@pytest.mark.parametrize(
    ("slope", "intercept", "first"), [("1", "-1", 65530), ("-1", "0", 65530), ("1", "0", 3)]
)
def test_a_table_is_of_signed_values_where_these_may_be_below_nought(
    slope: str, intercept: str, first: int
) -> None:
    raw = np.tile(np.arange(16, dtype=np.uint16), (16, 1))
    item = _item([10, first, 8], list(range(0, 250, 25)))
    found = frame_of(raw, RescaleSlope=slope, RescaleIntercept=intercept,
                     VOILUTSequence=Sequence([item]))  # fmt: skip
    below = (slope, intercept) != ("1", "0")
    values = raw * float(slope) + float(intercept)
    places = np.clip(values - (first - 65536 if below else first), 0, 9)
    assert np.abs(found.grey - places * 25 / 225 * 255).max() <= 0.5 + 1e-6


# Palettes.


def _palette(count: int = 256, first: int = 0, bits: int = 8, **told: Any) -> dict[str, Any]:
    entries = np.random.default_rng(3).integers(0, 2**bits, (3, count or 65536))
    entries[:, 0] = 2**bits - 1
    made: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, data in zip(("Red", "Green", "Blue"), entries, strict=True):
        made[f"{colour}PaletteColorLookupTableDescriptor"] = [count, first, bits]
        words = data.astype("<u2" if bits > 8 else "u1").tobytes()
        made[f"{colour}PaletteColorLookupTableData"] = words
    return made | told


@pytest.mark.parametrize(("count", "first", "bits"), [(256, 0, 8), (100, 20, 8), (256, 0, 16),
                                                      (90, 3, 16), (0, 0, 16)])  # fmt: skip
def test_palettes_are_those_of_pydicom(count: int, first: int, bits: int) -> None:
    raw = dicoms.values(1, bits=8)
    told = _palette(count, first, bits)
    found = frame_of(raw, **told)
    data = dicoms.file_of(dicoms.dataset(raw, **told), raw, loose=True)
    theirs = apply_color_lut(raw, pydicom.dcmread(dicoms.as_file(data)))
    luma = theirs.astype(float) @ [0.299, 0.587, 0.114] / (2**bits - 1) * 255
    assert np.abs(found.grey - luma).max() <= 0.5 + 1e-6
    assert found.notes is None


def test_a_palette_is_read_by_what_it_holds() -> None:
    """16 bits that hold 8 are shown as 8, and the other way round."""
    raw = dicoms.values(1, bits=8)
    narrow = _palette(bits=8)
    wide = dict(narrow)
    for colour in ("Red", "Green", "Blue"):
        data = np.frombuffer(narrow[f"{colour}PaletteColorLookupTableData"], np.uint8)
        wide[f"{colour}PaletteColorLookupTableData"] = data.astype("<u2").tobytes()
        wide[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
    found = frame_of(raw, **wide)
    assert np.array_equal(found.grey, frame_of(raw, **narrow).grey)
    assert found.notes == Note.LUT_BITS
    for colour in ("Red", "Green", "Blue"):
        wide[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
    again = frame_of(raw, **wide)
    assert np.array_equal(again.grey, found.grey)
    assert again.notes is None


@pytest.mark.parametrize("signed", [True, False])
def test_a_palette_of_signed_values(signed: bool) -> None:
    header = header_of(**_palette(100, 65536 - 50))
    found = palette_of(header, signed=signed)
    assert found.first == (-50 if signed else 65486)
    grey = found.at(np.arange(-60, 60, dtype=np.int16))
    if signed:
        assert grey.tolist() == [*[255] * 10, *found.grey.tolist(), *[found.grey[-1]] * 10]
    else:
        assert set(grey.tolist()) == {255}  # all lie before the first
    edge = palette_of(header_of(**_palette(9, 32768)), signed=True)
    assert edge.first == -32768
    assert palette_of(header_of(**_palette(9, 32767)), signed=True).first == 32767


_DAMAGED = "dicom: its colour table is missing or damaged"


@pytest.mark.parametrize(
    "told",
    [
        {"BluePaletteColorLookupTableDescriptor": None},
        {"GreenPaletteColorLookupTableDescriptor": [256, 0]},
        {"RedPaletteColorLookupTableData": None},
        {"RedPaletteColorLookupTableData": bytes(254)},
        {"RedPaletteColorLookupTableDescriptor": [255, 0, 8]},
        {"RedPaletteColorLookupTableDescriptor": [256, 1, 8]},
        {"BluePaletteColorLookupTableDescriptor": [256, 1, 8]},
        {"RedPaletteColorLookupTableData": None,
         "SegmentedRedPaletteColorLookupTableData": bytes([0, 254, *range(254)])},
    ],
)  # fmt: skip
def test_a_palette_that_is_missing_or_damaged(told: dict[str, Any]) -> None:
    raw = dicoms.values(1, bits=8)
    header = header_of(raw, **_palette(**told))
    assert refused(palette_of, header, signed=False) == (Why.UNREADABLE, _DAMAGED)


def test_a_descriptor_that_is_no_number_is_named() -> None:
    header = header_of(**_palette())
    header.dataset.add_new("RedPaletteColorLookupTableDescriptor", "LO", "x")
    assert refused(palette_of, header, signed=False) == (
        Why.UNREADABLE, "dicom: RedPaletteColorLookupTableDescriptor is no number",
    )  # fmt: skip


def test_segments_unfold_by_hand() -> None:
    narrow = [0, 3, 10, 20, 30, 1, 2, 40, 1, 3, 10]
    linear = [10.0, 20.0, 30.0, 35.0, 40.0, 30.0, 20.0, 10.0]
    assert unfolded(narrow, is_wide=False).tolist() == linear
    # Both linear segments once more, from word 5 on: from 10 to 40 and back.
    again = [*linear, 25.0, 40.0, 30.0, 20.0, 10.0]
    assert unfolded([*narrow, 2, 2, 5, 0, 0, 0], is_wide=False).tolist() == again
    assert unfolded([*narrow, 2, 2, 10, 0], is_wide=True).tolist() == again
    # An offset has its low word first.
    far = [0, 300, *range(300), 1, 2, 4]
    place = 302
    assert unfolded([*far, 2, 1, place & 255, place >> 8, 0, 0], is_wide=False)[-2:].tolist() == [
        4.0, 4.0,
    ]  # fmt: skip
    assert unfolded([0, 1, 9, 1, 1, 65535, 2, 1, 6, 0], is_wide=True).tolist() == [
        9.0, 65535.0, 65535.0,
    ]  # fmt: skip
    # A rest of fewer than three words is filling.
    assert unfolded([0, 1, 7, 0], is_wide=False).tolist() == [7.0]
    assert unfolded([0, 1, 7, 0, 0], is_wide=False).tolist() == [7.0]
    assert unfolded([], is_wide=False).size == 0


@pytest.mark.parametrize(
    "words",
    [
        [1, 2, 40],  # linear, from nothing
        [0, 5, 1, 2, 3],  # discrete, cut
        [0, 0, 1],  # empty
        [3, 1, 1],  # of no kind
        [0, 1, 7, 2, 1, 6, 0],  # indirect to itself
        [0, 1, 7, 2, 1, 60, 0],  # beyond the end
        [0, 1, 7, 2, 0, 0, 0],  # repeated nought times
    ],
)
def test_segments_that_are_damaged(words: list[int]) -> None:
    assert refused(unfolded, words, is_wide=True) == (Why.UNREADABLE, _DAMAGED)


def test_segments_unfold_to_so_many_entries_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PALETTE_ENTRIES_MAX", 6)
    assert len(unfolded([0, 2, 1, 2, 1, 4, 9], is_wide=False)) == 6
    assert refused(unfolded, [0, 2, 1, 2, 1, 5, 9], is_wide=False) == (
        Why.UNREADABLE, "dicom: entries of its colour table, over PALETTE_ENTRIES_MAX (6)",
    )  # fmt: skip


@pytest.mark.parametrize("bits", [8, 16])
def test_segments_of_an_odd_length(bits: int) -> None:
    """As no writer should leave them: of 16 bits the odd byte is left out."""
    kind = "<u2" if bits == 16 else "u1"
    words = np.asarray([0, 1, 9, 1, 15, 2**bits - 1], kind).tobytes()
    header = header_of(**_palette(16, 0, bits))
    for colour in ("Red", "Green", "Blue"):
        data = header.dataset
        del data[f"{colour}PaletteColorLookupTableData"]
        odd = words + (b"\x07" if bits == 16 else b"\0")
        data.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", odd)
    found = palette_of(header, signed=False)
    exact = np.linspace(9, 2**bits - 1, 16) / (2**bits - 1) * 255
    assert np.abs(found.grey - exact).max() <= 1
