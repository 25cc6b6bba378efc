"""Whether a CT image is an axial slice: by its SOP class, its kind and its orientation.

Scouts, dose sheets, screen captures and reformatted planes come with modality CT, too, and a
model of slices has nothing to say of them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pulmospark.core.schemas import Note, RejectReason
from pulmospark.imaging.dicom.header import Header, sequence, text_of, words_of
from pulmospark.imaging.dicom.number_parsing import NoNumberError, numbers
from pulmospark.imaging.dicom.pixel_format import PixelForm
from pulmospark.imaging.reject import RefusedError

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1"
_CT_CLASSES: Final = frozenset({f"{_STORAGE}.2", f"{_STORAGE}.2.1", f"{_STORAGE}.2.2"})
"""CT, Enhanced CT and Legacy Converted Enhanced CT (PS3.4, B.5)"""
_CAPTURES: Final = frozenset({f"{_STORAGE}.7", *(f"{_STORAGE}.7.{n}" for n in (1, 2, 3, 4))})
_SCOUTS: Final = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"})
"""what makers call a localizer in ImageType; PS3.3, C.8.2.1.1.1 has the first"""
_AXIAL_COSINE: Final = 0.8
"""least cosine between a slice's normal and the body's axis: a gantry tilts by up to 30 degrees,
whose cosine is 0.87"""


def check_slice(header: Header, form: PixelForm) -> None:
    """Refuse a CT image that is not an axial slice.

    Raises:
        RefusedError: it is a localizer, a capture, of another SOP class, coloured, or of another
            plane.
    """
    class_uid = text_of(header.dataset, "SOPClassUID")
    if class_uid in _CAPTURES:
        raise _no_slice("a secondary capture")
    if class_uid and class_uid not in _CT_CLASSES:
        raise _no_slice("of another SOP class")
    if form.samples != 1 or form.photometric == "PALETTE COLOR":
        raise _no_slice("in colours")
    words = set(header.words("ImageType"))
    for group in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for place in header.items(group)[:1]:
            for item in sequence(place, "CTImageFrameTypeSequence"):
                words |= set(words_of(item, "FrameType"))
    if words & _SCOUTS:
        raise _no_slice("a localizer (scout)")
    cosine = _cosine(header)
    if cosine is not None and cosine < _AXIAL_COSINE:
        raise _no_slice("of a plane that is not axial")


def _no_slice(what: str) -> RefusedError:
    return RefusedError(
        RejectReason.OTHER_MODALITY, f"dicom: a CT image that is {what}, no axial slice"
    )


def _cosine(header: Header) -> float | None:
    """Cosine between the first frame's normal and the body's axis; ``None``: not known."""
    place = header.group(0, "PlaneOrientationSequence", "ImageOrientationPatient")
    try:
        values = numbers(place, "ImageOrientationPatient", header.notes)
    except NoNumberError:
        values = (0.0,)
    if not values:
        return None
    if len(values) == 6:
        normal = np.cross(values[:3], values[3:])
        if (length := float(np.linalg.norm(normal))) > 0.5:
            return abs(float(normal[2])) / length
    header.notes.add(Note.ORIENTATION_UNREADABLE)
    return None
