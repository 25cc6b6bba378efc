"""From a DICOM frame's stored values to 8-bit grey, in the order of PS3.3 and PS3.4.

Modality transform (LUT or rescale), then VOI transform (LUT or window), then the photometric
interpretation; so MONOCHROME1 is inverted last. The chain is worked out once for each sample that
8 or 16 bits can hold, not for each pixel, and looked up in strips: a frame of 100 megapixels
takes its own bytes, and one byte a pixel more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pulmospark.core.arrays import Floats, Integers, Mask, Pixels
from pulmospark.core.schemas import Note, RejectReason
from pulmospark.imaging.dicom.header import Header, text_of
from pulmospark.imaging.dicom.lookup_tables import Lut, NoTableError, lut_of, palette_of
from pulmospark.imaging.dicom.number_parsing import NoNumberError, numbers
from pulmospark.imaging.dicom.pixel_data import Stored
from pulmospark.imaging.dicom.pixel_format import PixelForm
from pulmospark.imaging.greyscale import WINDOW_PERCENTILES
from pulmospark.imaging.reject import RefusedError

CtWindow = Literal["lung", "soft", "header"]
CT_WINDOWS: Final = {"lung": (-600.0, 1500.0), "soft": (40.0, 400.0)}
"""centre and width in Hounsfield units, as radiologists set them for the lungs and for the
soft tissue of the chest"""

Raw = NDArray[np.unsignedinteger]
_LEVELS_MAX: Final = 1 << 17
"""levels of one chain at most; values of a wider range are transformed pixel by pixel"""
_STRIP_PIXELS: Final = 1 << 20
"""pixels that are worked on at once: some megabytes"""
_SAMPLE_PIXELS: Final = 1_000_000
"""pixels that percentiles are taken of, as ``grey.window`` does"""
_FUNCTIONS: Final = frozenset({"", "LINEAR", "LINEAR_EXACT", "SIGMOID"})


@dataclass(frozen=True)
class Chain:
    """The transforms of one frame; in a file of several frames each may have its own."""

    modality_lut: Lut | None
    slope: float
    intercept: float
    voi: Callable[[Floats], Floats] | None
    """VOI transform, to 0 ... 1; ``None`` where there is none"""

    def scaled(self, values: Floats) -> Floats:
        """The modality transform; values keep their shape."""
        if self.modality_lut is not None:
            return self.modality_lut.at(values)
        return values * self.slope + self.intercept

    @property
    def is_identity(self) -> bool:
        """Whether the modality transform changes nothing."""
        return self.modality_lut is None and (self.slope, self.intercept) == (1.0, 0.0)


def chain_of(
    header: Header, form: PixelForm, frame: int, ct: CtWindow | None, notes: set[Note]
) -> Chain:
    """The transforms of a frame, from the header's root or its functional groups.

    Of several windows or VOI LUTs the first is taken: the standard leaves the choice to the
    viewer, and makers put their default first. A VOI LUT goes before a window.

    Args:
        header: of the file.
        form: of its pixels.
        frame: from 0.
        ct: window of a CT slice; ``None``: it is none, and the header's window is used.
        notes: gets what was doubtful.

    Raises:
        RefusedError: the modality transform is there and cannot be read.
    """
    rescale = header.group(frame, "PixelValueTransformationSequence", "RescaleSlope")
    slopes = header.numbers("RescaleSlope", rescale)
    intercepts = header.numbers("RescaleIntercept", rescale)
    try:
        modality_lut = lut_of(
            header, header.dataset, "ModalityLUTSequence", signed=form.signed, notes=notes
        )
    except NoTableError as error:
        raise RefusedError(
            RejectReason.UNREADABLE, "dicom: its modality lookup table cannot be read"
        ) from error
    if modality_lut is None and bool(slopes) != bool(intercepts):
        notes.add(Note.RESCALE_INCOMPLETE)
    slope = slopes[0] if slopes else 1.0
    if slope == 0:
        slope = 1.0
        notes.add(Note.SLOPE_ZERO)
    chain = Chain(modality_lut, slope, intercepts[0] if intercepts else 0.0, None)
    if ct in CT_WINDOWS:
        if modality_lut is None and intercepts:
            # One window for all: the unit in a header depends on the scanner, not the tissue.
            if text_of(rescale, "RescaleType").upper() not in ("", "HU"):
                notes.add(Note.RESCALE_TYPE)
            centre, width = CT_WINDOWS[ct]
            return _with(chain, lambda values: (values - centre) / width + 0.5)
        notes.add(Note.NOT_HOUNSFIELD)
    return _with(chain, _voi(header, form, frame, chain, notes))


def _with(chain: Chain, voi: Callable[[Floats], Floats] | None) -> Chain:
    return Chain(chain.modality_lut, chain.slope, chain.intercept, voi)


def _voi(
    header: Header, form: PixelForm, frame: int, chain: Chain, notes: set[Note]
) -> Callable[[Floats], Floats] | None:
    """The header's own VOI transform."""
    place = header.group(frame, "FrameVOILUTSequence", "WindowCenter")
    lowest = min(chain.slope * end + chain.intercept for end in (form.lowest, form.highest))
    signed = chain.modality_lut is None and lowest < 0
    try:
        lut = lut_of(header, place, "VOILUTSequence", signed=signed, notes=notes)
    except NoTableError:
        lut = None
        notes.add(Note.LUT_UNREADABLE)
    if lut is not None:
        table, top = lut, lut.top
        return lambda values: table.at(values) / top
    try:
        centres = numbers(place, "WindowCenter", notes)
        widths = numbers(place, "WindowWidth", notes)
    except NoNumberError:
        notes.add(Note.WINDOW_UNREADABLE)
        return None
    if not centres and not widths:
        return None
    if not centres or not widths or widths[0] <= 0:
        notes.add(Note.WINDOW_UNREADABLE)
        return None
    function = text_of(place, "VOILUTFunction").upper()
    if function not in _FUNCTIONS:
        notes.add(Note.WINDOW_FUNCTION)
    return _window(centres[0], widths[0], function)


def _window(centre: float, width: float, function: str) -> Callable[[Floats], Floats]:
    """PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return lambda values: (values - centre) / width + 0.5
    if width <= 1:
        return lambda values: (values > centre - 0.5).astype(np.float64)
    return lambda values: (values - (centre - 0.5)) / (width - 1) + 0.5


def grey_of(
    stored: Stored, header: Header, form: PixelForm, chain: Chain, notes: set[Note]
) -> Pixels:
    """8-bit grey, (rows, columns), of a frame.

    Args:
        stored: the frame's samples.
        header: of the file.
        form: of its pixels.
        chain: of the frame.
        notes: gets what was doubtful.

    Raises:
        RefusedError: a colour table is missing or damaged.
    """
    if stored.space:
        return _luma(stored, form)
    if stored.raw.dtype.itemsize > 2:
        return _wide_grey(stored, form, chain, notes)
    own = f"u{stored.raw.dtype.itemsize}"
    levels = np.arange(1 << (8 * stored.raw.dtype.itemsize), dtype=own)
    is_there = _occurring(stored.raw, len(levels))
    values = stored.values(form, levels)
    padding = _is_padding(values, form)
    if stored.is_lossy and _overshoots(levels[is_there & ~padding], form):
        clipped = np.clip(_whole(levels, form), form.lowest, form.highest)
        values = np.where(padding, values, clipped)
    elif _has_more(levels[is_there], stored, form):
        notes.add(Note.BITS_MASKED)
    if form.photometric == "PALETTE COLOR":
        return _looked_up(stored.raw, palette_of(header, signed=form.signed).at(values))
    tone = _tone(values, is_there, form, chain, notes)
    if tone is None:
        scaled = chain.scaled(values.astype(np.float64))
        scaled[_is_padding(values, form)] = np.nan
        low, high = _ends(np.take(scaled, _sample(stored.raw)))
        tone = _finished(_eight_bit((scaled - low) / (high - low)), values, form)
    return _looked_up(stored.raw, tone)


def _tone(
    values: Integers,
    is_there: Mask,
    form: PixelForm,
    chain: Chain,
    notes: set[Note],
) -> Pixels | None:
    """Grey of each level; ``None`` where that shows nothing of those that occur."""
    if chain.voi is not None:
        grey = _eight_bit(chain.voi(chain.scaled(values.astype(np.float64))))
        shown = grey[is_there & ~_is_padding(values, form)]
        if not shown.size or shown.min() != shown.max():
            return _finished(grey, values, form)
        notes.add(Note.WINDOW_EMPTY)
    # There is no window, or one outside the values.
    if form.stored == 8 and not form.signed and chain.is_identity:
        return _finished(values.astype(np.uint8), values, form)
    return None


def _finished(grey: Pixels, values: Integers, form: PixelForm) -> Pixels:
    """The photometric interpretation; padding is black in either."""
    if form.photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.where(_is_padding(values, form), np.uint8(0), grey)


def _has_more(occurring: Raw, stored: Stored, form: PixelForm) -> bool:
    """Whether samples have bits above the used ones that are neither sign nor padding."""
    used = stored.shift + stored.bits
    above = 8 * occurring.dtype.itemsize - used
    if above <= 0:
        return False
    rest = (occurring >> used).astype(np.int64)
    negative = ((occurring >> (used - 1)) & 1).astype(bool) if form.signed else False
    plain = (rest == 0) | (negative & (rest == (1 << above) - 1))
    return bool((~plain & ~_is_padding(stored.values(form, occurring), form)).any())


def _whole(levels: Raw, form: PixelForm) -> Integers:
    """Samples by all of their bits."""
    return levels.view(f"i{levels.dtype.itemsize}") if form.signed else levels


def _overshoots(occurring: Raw, form: PixelForm) -> bool:
    """Whether values leave the used bits by as little as a lossy codec's ripples do.

    They are clipped: without its highest bit a white pixel would become a black one.
    """
    if not occurring.size:
        return False
    whole = _whole(occurring, form).astype(np.int64)
    reach = (form.highest - form.lowest + 1) // 8
    low, high = int(whole.min()), int(whole.max())
    if form.lowest <= low and high <= form.highest:
        return False
    return low >= form.lowest - reach and high <= form.highest + reach


def _wide_grey(stored: Stored, form: PixelForm, chain: Chain, notes: set[Note]) -> Pixels:
    """As :func:`grey_of`, of 32-bit samples."""
    ends = [(int(v.min()), int(v.max())) for v in _strips_of_values(stored, form)]
    low, high = min(a for a, _ in ends), max(b for _, b in ends)
    grey = np.empty(stored.raw.shape, np.uint8)
    if high - low < _LEVELS_MAX:
        levels = np.arange(low, high + 1)
        is_there = np.zeros(len(levels), bool)
        for values in _strips_of_values(stored, form):
            is_there[np.asarray(values, np.int64) - low] = True
        tone = _tone(levels, is_there, form, chain, notes)
        if tone is not None:
            for strip, values in zip(_strips(grey), _strips_of_values(stored, form), strict=True):
                strip[:] = tone[np.asarray(values, np.int64) - low]
            return grey
    elif chain.voi is not None:
        for strip, values in zip(_strips(grey), _strips_of_values(stored, form), strict=True):
            strip[:] = _finished(
                _eight_bit(chain.voi(chain.scaled(values.astype(np.float64)))), values, form
            )
        if grey.min() != grey.max():
            return grey
        notes.add(Note.WINDOW_EMPTY)
    sample = stored.values(form, _sample(stored.raw))
    scaled = chain.scaled(sample.astype(np.float64))
    scaled[_is_padding(sample, form)] = np.nan
    black, white = _ends(scaled)
    for strip, values in zip(_strips(grey), _strips_of_values(stored, form), strict=True):
        level = (chain.scaled(values.astype(np.float64)) - black) / (white - black)
        strip[:] = _finished(_eight_bit(level), values, form)
    return grey


def _strips_of_values(stored: Stored, form: PixelForm) -> Iterator[Integers]:
    return (stored.values(form, strip) for strip in _strips(stored.raw))


def _strips(pixels: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of rows of an image, each about :data:`_STRIP_PIXELS`."""
    rows = max(1, _STRIP_PIXELS // max(1, pixels.shape[1]))
    return (pixels[n : n + rows] for n in range(0, len(pixels), rows))


def _occurring(raw: Raw, levels: int) -> Mask:
    """Which of all levels occur, (levels,)."""
    is_there = np.zeros(levels, bool)
    for strip in _strips(raw):
        is_there[strip] = True
    return is_there


def _looked_up(raw: Raw, tone: Pixels) -> Pixels:
    grey = np.empty(raw.shape, np.uint8)
    for target, strip in zip(_strips(grey), _strips(raw), strict=True):
        target[:] = tone[strip]
    return grey


def _sample(raw: NDArray[Any]) -> NDArray[Any]:
    """Every n-th row and column, about :data:`_SAMPLE_PIXELS` pixels."""
    step = max(1, int(np.sqrt(raw.size / _SAMPLE_PIXELS)))
    return raw[::step, ::step]


def _ends(sample: Floats) -> tuple[float, float]:
    """What becomes black and white where no window says it, as ``grey.window`` has it."""
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(sample, WINDOW_PERCENTILES))
    if not high > low:
        low, high = float(sample.min()), float(sample.max())
    return (low, high) if high > low else (low, low + 1.0)


def _eight_bit(values: Floats) -> Pixels:
    grey: Pixels = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return grey


def _is_padding(levels: Integers, form: PixelForm) -> Mask:
    if form.padding is None:
        return np.zeros(levels.shape, bool)
    return (levels >= form.padding[0]) & (levels <= form.padding[1])


def _luma(stored: Stored, form: PixelForm) -> Pixels:
    """Luma of colours: ITU-R BT.601, as JPEG has it."""
    raw, used = stored.raw, stored.shift + stored.bits
    kind = np.dtype("u1" if raw.dtype.itemsize == 1 else "u2")
    down = stored.shift + max(0, stored.bits - 16)  # 32 bits to 16
    mask = (1 << used) - 1
    luma = np.empty(raw.shape[:2], kind)
    for target, strip in zip(_strips(luma), _strips(raw), strict=True):
        plain = strip if raw.ndim == 2 or stored.space == "RGB" else strip[..., 0]
        samples = np.ascontiguousarray(((plain & mask) >> down).astype(kind))
        target[:] = cv2.cvtColor(samples, cv2.COLOR_RGB2GRAY) if stored.space == "RGB" else samples
    if form.stored == 8:
        return luma.astype(np.uint8, copy=False)
    levels = np.arange(1 << (8 * luma.dtype.itemsize), dtype=np.float64)
    low, high = _ends(_sample(luma).astype(np.float64))
    return _looked_up(luma, _eight_bit((levels - low) / (high - low)))
