"""Rows of the images and rejects tables, from a file's listing and its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa

from pulmospark.core import limits, schemas
from pulmospark.core.schemas import FRONTAL_VIEWS, Modality, RejectReason, View

if TYPE_CHECKING:
    from pulmospark.imaging.image import StandardImage

GuessView = Literal["off", "axial", "all"]

_COPIED: Final = [name for name in schemas.MANIFEST.names if name in schemas.IMAGES.names]
_FRAME: Final = "#frame-"


def frame_of(uri: str) -> int | None:
    """Number of the frame in a row's ``uri``, from 1; ``None``: the file has one frame."""
    _, mark, number = uri.rpartition(_FRAME)
    return int(number) if mark and number.isascii() and number.isdigit() else None


def file_of(uri: str) -> str:
    """Path of the file in a row's ``uri``."""
    return uri if frame_of(uri) is None else uri.rpartition(_FRAME)[0]


def later_frames(uris: pa.ChunkedArray | pa.Array) -> list[str]:
    """The ``uri`` values that name a frame after the first."""
    marked = (uri for uri in uris.to_pylist() if _FRAME in uri)
    return [uri for uri in marked if (frame_of(uri) or 1) > 1]


def image_row(
    row: Mapping[str, Any],
    image: StandardImage,
    *,
    cropped: bool = False,
    guess_view: GuessView = "off",
) -> dict[str, Any]:
    """A row of the images table without ``listed``: :func:`facts_row` and the image's pixels."""
    return {
        **facts_row(row, image, cropped=cropped, guess_view=guess_view),
        "pixels": image.pixels.tobytes(),
        "phash": image.phash,
        "parent_id": None,
    }


def facts_row(
    row: Mapping[str, Any],
    image: StandardImage,
    *,
    cropped: bool = False,
    guess_view: GuessView = "off",
) -> dict[str, Any]:
    """The columns of an image, except its pixels and their hash.

    The source's own metadata takes precedence over a DICOM header, and the header over the
    pixels: a data set's sheet was made for the purpose, and headers of images that were exported,
    digitised or anonymised are often wrong. Pixels only give a guess, which becomes the view if
    ``guess_view`` allows it, see ``IngestSettings``.
    """
    known = {**{name: row[name] for name in _COPIED}, **_from_header(row, image)}
    guess = image.view
    measured = (
        known["view"] == View.UNKNOWN.value
        and guess is not None
        and (guess_view == "all" or (guess_view == "axial" and guess is View.AXIAL))
    )
    header = image.header
    return {
        **known,
        "uri": row["uri"] if image.frame is None else f"{row['uri']}{_FRAME}{image.frame}",
        "image_id": image.image_id,
        # A mask is of the whole image: it does not fit a cropped one.
        "mask_uri": None if cropped else row["mask_uri"],
        "view": guess.value if measured and guess else known["view"],
        "view_measured": measured,
        "view_guess": guess.value if guess else None,
        "laterality": header.laterality if header else None,
        "burned_in": header.burned_in if header else None,
        "body_part": header.body_part.value if header else None,
        "phantom": image.phantom,
        "frame": image.frame,
        "notes": image.notes,
        "format": image.format,
        "height": image.height,
        "width": image.width,
    }


def _from_header(row: Mapping[str, Any], image: StandardImage) -> dict[str, Any]:
    """Columns that the header fills in where the source has no value, or a vaguer one.

    The patient is not taken from it if the layout knows that the header has none.
    """
    header = image.header
    if header is None:
        return {}
    named = header.patient if row["header_patient"] else None
    patient = None if named is None else f"{row['source']}:{named}"
    facts = {
        "patient_id": patient,
        "study_id": header.study,
        "scan_id": header.series if header.modality is Modality.CT else None,
        "slice_index": header.slice_index if header.modality is Modality.CT else None,
        "age": header.age,
        "sex": header.sex,
    }
    filled = {name: value for name, value in facts.items() if row[name] is None}
    if image.frame is not None:  # the file's position is not its frames'
        filled["slice_index"] = image.frame
    # "frontal" may be PA or AP, and the header may know.
    refines = row["view"] == View.FRONTAL.value and header.view in FRONTAL_VIEWS
    if refines or row["view"] == View.UNKNOWN.value:
        filled["view"] = header.view.value
    if row["modality"] == Modality.UNKNOWN.value:
        filled["modality"] = header.modality.value
    return filled


def reject_row(
    row: Mapping[str, Any], image_id: str | None, reason: str, detail: str
) -> dict[str, Any]:
    """A row of the rejects table."""
    return {
        **{name: row[name] for name in ("uri", "source", "size_bytes", "modified_ns")},
        "image_id": image_id,
        "reason": str(reason),
        "detail": detail[: limits.DETAIL_CHARS_MAX],
    }


def rejects_of(rows: pa.Table, reason: RejectReason, detail: str) -> dict[str, pa.Table]:
    """All files of a list as rejects for one reason: the table's name and its rows."""
    rejects = [reject_row(row, None, reason, detail) for row in rows.to_pylist()]
    return {"rejects": pa.Table.from_pylist(rejects, schema=schemas.REJECTS)}
