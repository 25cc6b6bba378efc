"""Read, decode, standardise and measure the images of a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.hashing import bytes_id, value_id
from pulmospark.core.pseudonyms import Salt
from pulmospark.core.schemas import BodyPart, Modality, RejectReason, View
from pulmospark.imaging.decode import Decoded, decode
from pulmospark.imaging.lung_segmentation import lung_box
from pulmospark.imaging.phantom_mark import is_marked
from pulmospark.imaging.placement import Box, Placement
from pulmospark.imaging.read_file import read_bytes, too_many
from pulmospark.imaging.reject import RefusedError
from pulmospark.imaging.rejection import Rejected, rejected
from pulmospark.imaging.sniff import sniff
from pulmospark.imaging.standardise import (
    equalised,
    hash_of_thumbnail,
    standardise,
    thumbnail_of,
)
from pulmospark.imaging.view import view_of_thumbnail

if TYPE_CHECKING:
    from pulmospark.imaging.dicom.metadata import DicomFacts
    from pulmospark.imaging.dicom.reader import DicomImage


@dataclass(frozen=True)
class ImageHeader:
    """Facts from a DICOM header for a row, where the source's metadata has none.

    No text of the header is among it: identifiers are hashes, the rest numbers and words of
    closed lists.
    """

    patient: str | None
    """hash of PatientID; ``None``: it is empty, or no salt was given"""
    study: str | None
    series: str | None
    slice_index: int | None
    """InstanceNumber, or the number of the frame"""
    modality: Modality
    view: View
    laterality: str | None
    age: float | None
    """years"""
    sex: str | None
    burned_in: bool | None
    body_part: BodyPart


@dataclass(frozen=True, eq=False)
class StandardImage:
    """A standardised image: the part of a row of the images table that comes from the file."""

    image_id: str
    """SHA-256 of the file's bytes"""
    format: str
    """of the content, whatever the name says"""
    size_bytes: int
    height: int
    """of the upright original, pixels"""
    width: int
    """of the upright original, pixels"""
    pixels: Pixels
    """(size, size) grey levels, contiguous"""
    thumbnail: Pixels
    """(32, 32) grey levels, from which the hash is computed"""
    view: View | None
    """as measured from the pixels; ``None``: no opinion"""
    header: ImageHeader | None = None
    """what a DICOM header says"""
    frame: int | None = None
    """from 1, in a file of several frames"""
    notes: str | None = None
    """what of the file's header was doubtful: values of ``schemas.Note``, joined"""
    phantom: bool = False
    """drawn by pulmospark, by the file's own comment"""
    placement: Placement | None = None
    """of the original in ``pixels``"""

    @property
    def phash(self) -> int:
        """64-bit perceptual hash, as signed; computed on demand."""
        return hash_of_thumbnail(self.thumbnail)


def read_images(
    path: str, settings: IngestSettings, salt: Salt | None = None
) -> list[StandardImage] | Rejected:
    """Read the images of a file: one, or one per frame of a multi-frame CT.

    Args:
        path: absolute path; symbolic links are followed.
        settings: size and fit of the standard image, window of CT slices.
        salt: what identifiers of DICOM headers are hashed with; ``None``: they are dropped.

    Returns:
        The images, or the reason why there is none. Nothing is raised for what a file holds.

    Raises:
        SourceUnavailableError: the machine failed to read it; see ``read_file.read_bytes``.
    """
    data = read_bytes(path)
    return data if isinstance(data, Rejected) else images_from_bytes(data, settings, salt)


def images_from_bytes(
    data: bytes, settings: IngestSettings, salt: Salt | None = None
) -> list[StandardImage] | Rejected:
    """As :func:`read_images`, from a file's bytes; pure."""
    return _images(data, settings, salt, one_only=False)


def _images(
    data: bytes, settings: IngestSettings, salt: Salt | None, *, one_only: bool
) -> list[StandardImage] | Rejected:
    """The only way from a file's bytes to standard images; everything that reads files is here.

    Args:
        data: the file's bytes.
        settings: of the standard image.
        salt: of the identifiers; ``None``: they are dropped.
        one_only: reject a file of several frames before a pixel is decoded.
    """
    if len(data) > limits.FILE_BYTES_MAX:
        return too_many(len(data))
    image_id = bytes_id(data)
    if sniff(data[: limits.SNIFF_BYTES]) != "dicom":
        decoded = decode(data, at_least=settings.size)
        if isinstance(decoded, Rejected):
            return Rejected(decoded.reason, decoded.detail, image_id)
        return [_image(decoded, image_id, len(data), settings, phantom=is_marked(data))]
    # Inside: pydicom takes a third of a second, which other formats are spared.
    from pulmospark.imaging.dicom.reader import open_dicom  # noqa: PLC0415

    try:
        image = open_dicom(data)
        if settings.body_parts == "chest" and image.facts.body_part is BodyPart.OTHER:
            raise RefusedError(
                RejectReason.OTHER_BODY_PART,
                "dicom: the header names another part of the body than the chest",
            )
        if one_only and image.frames > 1:
            raise RefusedError(
                RejectReason.ANIMATED, f"dicom: {image.frames} frames where one image was expected"
            )
        _check_room(image, settings)
        images = []
        for number in range(image.frames):
            read = image.frame(number, settings.ct_window, at_least=settings.size)
            decoded = Decoded(
                read.grey, read.height, read.width, "dicom", read.eighths, read.notes
            )
            standard = _image(decoded, image_id, len(data), settings)
            frame = number + 1 if image.frames > 1 else None
            images.append(
                replace(
                    standard,
                    image_id=image_id if frame is None else value_id([image_id, frame]),
                    header=_image_header(image.facts, frame, salt),
                    frame=frame,
                )
            )
        return images
    except RefusedError as refusal:
        return rejected(refusal.reason, refusal.detail, image_id)
    except Exception as error:  # noqa: BLE001 - on hostile bytes; its words may hold a name
        return rejected(RejectReason.UNREADABLE, f"dicom: {type(error).__name__}", image_id)


def _check_room(image: DicomImage, settings: IngestSettings) -> None:
    """Refuse a file whose frames' standard images would not fit into memory together."""
    need = image.frames * settings.size * settings.size
    if image.frames > 1 and need > limits.DICOM_FRAMES_BYTES_MAX:
        raise RefusedError(
            RejectReason.TOO_MANY_PIXELS,
            f"dicom: {image.frames} frames of {settings.size} x {settings.size} standard pixels, "
            f"over DICOM_FRAMES_BYTES_MAX ({limits.DICOM_FRAMES_BYTES_MAX})",
        )


def _image_header(facts: DicomFacts, frame: int | None, salt: Salt | None) -> ImageHeader:
    def hashed(kind: str, value: str) -> str | None:
        return None if salt is None else salt.hashed(kind, value)

    return ImageHeader(
        patient=hashed("patient", facts.patient),
        study=hashed("study", facts.study),
        series=hashed("series", facts.series),
        slice_index=facts.number if frame is None else frame,
        modality=facts.modality,
        view=facts.view,
        laterality=facts.laterality,
        age=facts.age,
        sex=facts.sex,
        burned_in=facts.burned_in,
        body_part=facts.body_part,
    )


def read_image(path: str, settings: IngestSettings) -> StandardImage | Rejected:
    """Read the image of a file.

    Args:
        path: absolute path; symbolic links are followed.
        settings: size, fit and preparation of the standard image.

    Returns:
        The image, or the reason why there is none, with the ``image_id`` where the bytes could
        be read. Nothing is raised for what a file holds.

    Raises:
        SourceUnavailableError: the machine failed to read it; see ``read_file.read_bytes``.
    """
    data = read_bytes(path)
    return data if isinstance(data, Rejected) else image_from_bytes(data, settings)


def image_from_bytes(data: bytes, settings: IngestSettings) -> StandardImage | Rejected:
    """Read an image from a file's bytes; pure, and never raises.

    As :func:`images_from_bytes`, but a file of several frames is rejected.
    """
    images = _images(data, settings, None, one_only=True)
    return images if isinstance(images, Rejected) else images[0]


def standard_image(
    grey: Pixels,
    settings: IngestSettings,
    extent: tuple[float, float] | None = None,
) -> Pixels:
    """Crop, resize and equalise a grey image: the only way to the image that a network takes.

    Args:
        grey: (h, w) uint8.
        settings: ``crop``, ``size``, ``fit`` and ``equalise``.
        extent: see :func:`pulmospark.imaging.standardise.standardise`.

    Returns:
        (size, size) uint8, contiguous.
    """
    pixels = _resized(grey, settings, extent, _box(grey, settings))
    return equalised(pixels) if settings.equalise else pixels


def _box(grey: Pixels, settings: IngestSettings) -> Box | None:
    """The part of an image that is standardised; ``None``: all of it."""
    return lung_box(grey) if settings.crop == "lungs" else None


def _resized(
    grey: Pixels, settings: IngestSettings, extent: tuple[float, float] | None, box: Box | None
) -> Pixels:
    """The standard image before its histogram is equalised."""
    if box is None:
        return standardise(grey, settings.size, settings.fit, extent)
    top, left, bottom, right = box
    cut = np.ascontiguousarray(grey[top:bottom, left:right])
    return standardise(cut, settings.size, settings.fit)


def _image(
    decoded: Decoded,
    image_id: str,
    size_bytes: int,
    settings: IngestSettings,
    *,
    phantom: bool = False,
) -> StandardImage:
    grey, extent, size = decoded.grey, decoded.extent, settings.size
    box = _box(grey, settings)
    pixels = _resized(grey, settings, extent, box)
    # The view comes from the whole image, so that it is independent of the fit, and the hash
    # from the original image.
    thumbnail = whole = thumbnail_of(pixels)
    if settings.fit != "stretch" or settings.crop != "none":
        whole = thumbnail_of(standardise(grey, size, "stretch", extent))
    return StandardImage(
        image_id=image_id,
        format=decoded.format,
        size_bytes=size_bytes,
        height=decoded.height,
        width=decoded.width,
        pixels=equalised(pixels) if settings.equalise else pixels,
        thumbnail=thumbnail,
        view=view_of_thumbnail(whole),
        notes=decoded.notes,
        phantom=phantom,
        placement=Placement.of(
            (grey.shape[0], grey.shape[1]),
            (decoded.height, decoded.width),
            size,
            settings.fit,
            eighths=decoded.eighths,
            box=box,
        ),
    )
