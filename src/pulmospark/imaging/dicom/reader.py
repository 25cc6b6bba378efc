"""DICOM: decode a file's bytes to grey frames and the header facts for the tables.

Read in this order: the header, by a keep-list; its modality; its declared size, held against
the limits; then the pixels, frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.schemas import Modality, Note, RejectReason
from pulmospark.imaging.dicom.ct_slice import check_slice
from pulmospark.imaging.dicom.greyscale import CtWindow, chain_of, grey_of
from pulmospark.imaging.dicom.header import Header, read_header, text_of
from pulmospark.imaging.dicom.metadata import DicomFacts, facts_of
from pulmospark.imaging.dicom.pixel_data import PixelReader
from pulmospark.imaging.dicom.pixel_format import PixelForm, check_pixels, pixel_form
from pulmospark.imaging.dicom.pydicom_logging import quiet
from pulmospark.imaging.reject import RefusedError

_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
"""PS3.3, C.8.11.3: the presentation LUT shape that goes with a photometric interpretation"""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame in display form."""

    grey: Pixels
    """8-bit grey, (rows, columns); may be scaled down from the original"""
    height: int
    """of the original, pixels"""
    width: int
    """of the original, pixels"""
    eighths: int
    """scale of ``grey`` to the original, in eighths"""
    notes: str | None
    """:class:`Note` s of the frame and its file, joined; ``None``: there are none"""


@dataclass(frozen=True)
class DicomImage:
    """A checked DICOM file, not decoded yet."""

    header: Header
    form: PixelForm
    facts: DicomFacts
    reader: PixelReader

    @property
    def frames(self) -> int:
        """Frames in the file; more than one in CT alone."""
        return self.form.frames

    def frame(self, number: int, ct_window: CtWindow, *, at_least: int = 0) -> Frame:
        """One frame.

        Args:
            number: from 0.
            ct_window: of CT slices; images always have the header's.
            at_least: pixels that the shorter side keeps where a large frame is decoded at a
                lower resolution; 0: it is decoded in full.

        Raises:
            RefusedError: the data is cut or damaged, or of a kind that is not read.
        """
        with quiet():
            notes: set[Note] = set()
            ct = ct_window if self.facts.modality is Modality.CT else None
            chain = chain_of(self.header, self.form, number, ct, notes)
            stored = self.reader.read(number, at_least=at_least)
            grey = grey_of(stored, self.header, self.form, chain, notes)
            notes |= self.header.notes
            joined = "; ".join(note for note in Note if note in notes) or None
            return Frame(grey, self.form.rows, self.form.columns, stored.eighths, joined)


def open_dicom(data: bytes) -> DicomImage:
    """Read and check the header of a DICOM file.

    Raises:
        RefusedError: no image, none of an image's or slice's modality, too large, or damaged.
    """
    with quiet():
        header = read_header(data)
        check_pixels(header)
        facts = facts_of(header)
        form = pixel_form(header)
        if facts.modality is Modality.CT:
            check_slice(header, form)
        _check_frames(form, facts)
        _note_presentation(header, form)
        return DicomImage(header, form, facts, PixelReader(header, form))


def _note_presentation(header: Header, form: PixelForm) -> None:
    """Note doubtful presentation attributes of a radiograph's header.

    The photometric interpretation decides: it is what all writers fill in, and a presentation LUT
    shape against it was found to be the mistake. Pixels for processing are read by their own
    window like others.
    """
    shape = header.word("PresentationLUTShape")
    if shape and form.photometric in _SHAPES and shape != _SHAPES[form.photometric]:
        header.notes.add(Note.PRESENTATION_SHAPE)
    intent = header.word("PresentationIntentType")
    if intent == "FOR PROCESSING" or text_of(header.dataset, "SOPClassUID") == _FOR_PROCESSING:
        header.notes.add(Note.FOR_PROCESSING)


def _check_frames(form: PixelForm, facts: DicomFacts) -> None:
    if form.frames == 1:
        return
    if facts.modality is not Modality.CT:
        raise RefusedError(
            RejectReason.ANIMATED, f"dicom: {form.frames} frames where one image was expected"
        )
    if (pixels := form.frames * form.rows * form.columns) > limits.DICOM_PIXELS_MAX:
        raise RefusedError(
            RejectReason.TOO_MANY_PIXELS,
            f"dicom: {pixels} pixels in {form.frames} frames, over DICOM_PIXELS_MAX "
            f"({limits.DICOM_PIXELS_MAX})",
        )
