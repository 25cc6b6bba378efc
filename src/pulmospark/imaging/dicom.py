"""DICOM: from a file's bytes to grey frames and the facts that the tables keep of its header.

Read in this order: the header, by a keep-list; its modality; its declared size, held against
the limits; then the pixels, frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pulmospark.core import limits
from pulmospark.core.tables import Modality, RejectReason
from pulmospark.imaging.dicom_facts import DicomFacts, facts_of
from pulmospark.imaging.dicom_grey import CtWindow, chain_of, grey_of_values
from pulmospark.imaging.dicom_header import Header, read_header
from pulmospark.imaging.dicom_pixels import PixelForm, check_pixels, pixel_form, stored_values
from pulmospark.imaging.dicom_quiet import quiet
from pulmospark.imaging.reject import Refused


@dataclass(frozen=True)
class DicomImage:
    """A DICOM file that was checked, and not decoded yet."""

    header: Header
    form: PixelForm
    facts: DicomFacts

    @property
    def frames(self) -> int:
        """Frames in the file; more than one in CT alone."""
        return self.form.frames

    def grey(self, frame: int, ct_window: CtWindow) -> NDArray[np.uint8]:
        """One frame, from 0, as it is looked at: 8-bit grey (rows, columns).

        Args:
            frame: from 0.
            ct_window: of CT slices; films always have the header's.

        Raises:
            Refused: the data is cut or damaged, or of a kind that is not read.
        """
        with quiet():
            values, space = stored_values(self.header, self.form, frame)
            ct = ct_window if self.facts.modality is Modality.CT else None
            chain = chain_of(self.header, self.form, frame, ct)
            return grey_of_values(values, space, self.header, self.form, chain)


def open_dicom(data: bytes) -> DicomImage:
    """Read and check the header of a DICOM file.

    Raises:
        Refused: no image, none of a film's or slice's modality, too large, or damaged.
    """
    with quiet():
        header = read_header(data)
        check_pixels(header)
        facts = facts_of(header)
        form = pixel_form(header)
        _check_frames(form, facts)
        return DicomImage(header, form, facts)


def _check_frames(form: PixelForm, facts: DicomFacts) -> None:
    if form.frames == 1:
        return
    if facts.modality is not Modality.CT:
        raise Refused(
            RejectReason.ANIMATED, f"dicom: {form.frames} frames where one film was expected"
        )
    if (pixels := form.frames * form.rows * form.columns) > limits.DICOM_PIXELS_MAX:
        raise Refused(
            RejectReason.TOO_MANY_PIXELS,
            f"dicom: {pixels} pixels in {form.frames} frames, over {limits.DICOM_PIXELS_MAX}",
        )
