"""From a DICOM frame's stored values to 8-bit grey, in the order of PS3.3 and PS3.4.

Modality transform (LUT or rescale), then VOI transform (LUT or window), then the photometric
interpretation; so MONOCHROME1 is inverted last. The chain is worked out once for each level
that occurs, not for each pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pulmospark.imaging.dicom_header import Header, numbers, sequence, table_data, text_of
from pulmospark.imaging.dicom_pixels import PixelForm, Values
from pulmospark.imaging.grey import window

CtWindow = Literal["lung", "soft", "header"]
CT_WINDOWS: Final = {"lung": (-600.0, 1500.0), "soft": (40.0, 400.0)}
"""centre and width in Hounsfield units, as radiologists set them for the lungs and for the
soft tissue of the chest"""

Floats = NDArray[np.float64]
_LEVELS_MAX: Final = 1 << 17
"""levels of one chain at most; values of a wider range are transformed pixel by pixel"""


class Lut(NamedTuple):
    """A lookup table."""

    first: int
    """value that the first entry is of; lower ones have it, too"""
    entries: Floats
    """(entries,)"""
    top: float
    """entry that is white"""


@dataclass(frozen=True)
class Chain:
    """The transforms of one frame; in a file of several frames each may have its own."""

    modality_lut: Lut | None
    slope: float
    intercept: float
    hounsfield: bool
    """whether the rescaled values are Hounsfield units"""
    voi_lut: Lut | None
    centre: float | None
    width: float | None
    function: str
    ct: CtWindow | None
    """window of a CT slice; ``None``: it is none, and the header's window is used"""


def chain_of(header: Header, form: PixelForm, frame: int, ct: CtWindow | None = None) -> Chain:
    """The transforms of a frame, from the header's root or its functional groups.

    Of several windows or VOI LUTs the first is taken: the standard leaves the choice to the
    viewer, and makers put their default first. A VOI LUT goes before a window.
    """
    rescale = _group(header, frame, "PixelValueTransformationSequence", "RescaleSlope")
    voi = _group(header, frame, "FrameVOILUTSequence", "WindowCenter")
    slopes, intercepts = numbers(rescale, "RescaleSlope"), numbers(rescale, "RescaleIntercept")
    slope = slopes[0] if slopes and slopes[0] else 1.0
    intercept = intercepts[0] if intercepts else 0.0
    unit = text_of(rescale, "RescaleType").upper()
    centres, widths = numbers(voi, "WindowCenter"), numbers(voi, "WindowWidth")
    windowed = bool(centres and widths and widths[0] > 0)
    modality_lut = _lut(header, header.dataset, "ModalityLUTSequence", signed=form.signed)
    lowest = min(slope * end + intercept for end in (form.lowest, form.highest))
    return Chain(
        modality_lut=modality_lut,
        slope=slope,
        intercept=intercept,
        hounsfield=bool(intercepts) and unit in ("", "HU"),
        voi_lut=_lut(header, voi, "VOILUTSequence", signed=modality_lut is None and lowest < 0),
        centre=centres[0] if windowed else None,
        width=widths[0] if windowed else None,
        function=text_of(voi, "VOILUTFunction").upper(),
        ct=ct,
    )


def grey_of_values(
    values: Values, space: str, header: Header, form: PixelForm, chain: Chain
) -> NDArray[np.uint8]:
    """8-bit grey, (rows, columns), of a frame's stored values.

    Args:
        values: as ``dicom_pixels.stored_values`` gives them.
        space: their colour space, from there too.
        header: of the file.
        form: of its pixels.
        chain: of the frame.
    """
    if space:
        return _luma(values, space, form)
    if form.photometric == "PALETTE COLOR":
        return _palette(values, header)
    low, high = int(values.min()), int(values.max())
    if high - low >= _LEVELS_MAX:
        return _tone(values, values, form, chain)
    tone = _tone(np.arange(low, high + 1), values, form, chain)
    return np.take(tone, values.astype(np.int64) - low)


def _tone(levels: Values, values: Values, form: PixelForm, chain: Chain) -> NDArray[np.uint8]:
    """Grey of each of ``levels``, which are all that occur, or the values themselves."""
    scaled = _modality(levels.astype(np.float64), chain)
    padding = _is_padding(levels, form)
    voi = _voi(chain)
    grey = np.zeros(levels.shape, np.uint8) if voi is None else _eight_bit(voi(scaled))
    if grey[~padding].size and grey[~padding].min() == grey[~padding].max():
        # There is no window, or one beside the values, which shows nothing.
        if _is_plain(form, chain):
            grey = levels.astype(np.uint8)
        else:
            grey = _percentile_tone(scaled, levels, values, padding)
    if form.photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.where(padding, np.uint8(0), grey)


def _is_plain(form: PixelForm, chain: Chain) -> bool:
    """Whether the values are grey levels of 8 bits as they are."""
    same = chain.modality_lut is None and (chain.slope, chain.intercept) == (1.0, 0.0)
    return form.stored == 8 and not form.signed and same


def _percentile_tone(
    scaled: Floats, levels: Values, values: Values, padding: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """As films of more than 8 bits without a header are scaled; see ``grey.window``."""
    scaled = np.where(padding, np.nan, scaled)
    if levels is values:
        return window(scaled)
    place = values.astype(np.int64) - int(levels[0])
    tone = np.zeros(levels.shape, np.uint8)
    tone[place] = window(np.take(scaled, place))
    return tone


def _modality(levels: Floats, chain: Chain) -> Floats:
    if chain.modality_lut is not None:
        first, found, _ = chain.modality_lut
        return found[np.clip(levels - first, 0, len(found) - 1).astype(np.int64)]
    return levels * chain.slope + chain.intercept


def _voi(chain: Chain) -> Callable[[Floats], Floats] | None:
    """The VOI transform, to 0 ... 1; ``None`` where the header has none."""
    if chain.ct in CT_WINDOWS and chain.hounsfield:
        centre, width = CT_WINDOWS[chain.ct]
        return lambda values: (values - centre) / width + 0.5
    if chain.voi_lut is not None:
        first, found, top = chain.voi_lut
        return lambda values: (
            found[np.clip(np.rint(values - first), 0, len(found) - 1).astype(np.int64)] / top
        )
    if chain.centre is None or chain.width is None:
        return None
    return _window(chain.centre, chain.width, chain.function)


def _window(centre: float, width: float, function: str) -> Callable[[Floats], Floats]:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return lambda values: (values - centre) / width + 0.5
    if width <= 1:
        return lambda values: (values > centre - 0.5).astype(np.float64)
    return lambda values: (values - (centre - 0.5)) / (width - 1) + 0.5


def _eight_bit(values: Floats) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return grey


def _lut(header: Header, place: Dataset, keyword: str, *, signed: bool) -> Lut | None:
    """The first table of a sequence; ``None`` where there is none, or it is damaged.

    Args:
        header: of the file.
        place: where the sequence stands.
        keyword: of the sequence.
        signed: whether the values that it is of may be below 0.
    """
    item = next(iter(sequence(place, keyword)), None)
    if item is None:
        return None
    descriptor = numbers(item, "LUTDescriptor")
    data = table_data(item, "LUTData", big_endian=header.big_endian)
    if len(descriptor) != 3 or data is None:
        return None
    count, first, bits = (int(number) for number in descriptor)
    entries = _entries(data, count or 65536, bits)
    if entries is None or not 1 <= bits <= 16:
        return None
    # The descriptor's middle number is signed where the values are, and may be read as not.
    first = first - 65536 if signed and first >= 32768 else first
    return Lut(first, entries, max(float(2**bits - 1), float(entries.max()), 1.0))


def _entries(data: object, count: int, bits: int) -> Floats | None:
    if isinstance(data, bytes):
        wide = bits > 8 or len(data) >= 2 * count
        found = (
            np.frombuffer(data[: len(data) // 2 * 2], "<u2")
            if wide
            else np.frombuffer(data, np.uint8)
        )
    else:
        try:
            found = np.asarray(data).astype(np.float64).ravel()
        except (TypeError, ValueError):
            return None
    return found[:count].astype(np.float64) if found.size >= count > 0 else None


def _is_padding(levels: Values, form: PixelForm) -> NDArray[np.bool_]:
    if form.padding is None:
        return np.zeros(levels.shape, bool)
    return (levels >= form.padding[0]) & (levels <= form.padding[1])


def _luma(values: Values, space: str, form: PixelForm) -> NDArray[np.uint8]:
    if space == "RGB":
        kind = np.uint8 if values.dtype.itemsize == 1 else np.uint16
        scaled = values if values.dtype.itemsize < 4 else values >> (form.stored - 16)
        luma = cv2.cvtColor(np.ascontiguousarray(scaled.astype(kind)), cv2.COLOR_RGB2GRAY)
    else:
        luma = values[..., 0] if values.ndim == 3 else values
    return luma.astype(np.uint8) if form.stored == 8 else window(luma)


def _palette(values: Values, header: Header) -> NDArray[np.uint8]:
    planes = []
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        descriptor = numbers(header.dataset, f"{name}Descriptor")
        data = table_data(header.dataset, f"{name}Data", big_endian=header.big_endian)
        if len(descriptor) != 3 or data is None:
            return window(values)
        count, first, bits = (int(number) for number in descriptor)
        entries = _entries(data, count or 65536, bits)
        if entries is None:
            return window(values)
        place = np.clip(values.astype(np.int64) - first, 0, len(entries) - 1)
        top = 255.0 if entries.max() <= 255 else 65535.0
        planes.append((entries / top * 255.0)[place])
    red, green, blue = planes
    return np.rint(0.299 * red + 0.587 * green + 0.114 * blue).astype(np.uint8)


def _group(header: Header, frame: int, group: str, keyword: str) -> Dataset:
    """Where a frame's attribute stands: its own functional group, the shared one, the root."""
    per_frame = header.items("PerFrameFunctionalGroupsSequence")
    places = [*per_frame[frame : frame + 1], *header.items("SharedFunctionalGroupsSequence")[:1]]
    for place in places:
        for item in sequence(place, group):
            if keyword in item:
                return item
    return header.dataset
