"""Convert values as spelled in the sources to those of the tables."""

from __future__ import annotations

import math
import re

from pulmospark.core import limits
from pulmospark.core.schemas import Modality, Split, View
from pulmospark.layouts.notes import ListingNotes, NoteKind

_EMPTY = frozenset({"", "nan", "none", "null", "na", "n/a", "-"})
_VIEWS = {
    "pa": View.PA,
    "posteroanterior": View.PA,
    "ap": View.AP,
    "ap erect": View.AP,
    "ap semi erect": View.AP,
    "anteroposterior": View.AP,
    "ap supine": View.AP_SUPINE,
    "ap horizontal": View.AP_SUPINE,  # PadChest
    "supine": View.AP_SUPINE,
    "frontal": View.FRONTAL,
    "l": View.LATERAL,
    "ll": View.LATERAL,
    "rl": View.LATERAL,
    "lat": View.LATERAL,
    "lateral": View.LATERAL,
    "xtable lateral": View.LATERAL,
    # Whatever the plane, it is a slice, not an image: the tables have one value for these.
    "axial": View.AXIAL,
    "coronal": View.AXIAL,
    "sagittal": View.AXIAL,
    "unknown": View.UNKNOWN,
}
_MODALITIES = {
    "x-ray": Modality.XRAY,
    "xray": Modality.XRAY,
    "x ray": Modality.XRAY,
    "cr": Modality.XRAY,
    "cxr": Modality.XRAY,
    "dx": Modality.XRAY,
    "ct": Modality.CT,
}
_SPLITS = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "train_val": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "validate": Split.VALIDATION,
    "dev": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
}
_AGE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*([YMWD]?)", re.IGNORECASE)
_A_YEAR_HAS = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.2425}


def text(value: str | None) -> str | None:
    """A value without surrounding blanks; ``None`` if nothing is left."""
    value = (value or "").strip()
    return value or None


def patient_id(source: str, value: str | None) -> str | None:
    """``<source>:<id>``, the id in lower case with single blanks; ``None`` if it is empty.

    Two spellings of one id would separate a patient's images; merging two patients whose ids
    differ only in case does no harm.
    """
    plain = " ".join((value or "").split()).casefold()
    return None if plain in _EMPTY else f"{source}:{plain}"


def age_years(value: str | None, notes: ListingNotes) -> float | None:
    """Age in years from ``58``, ``58.0`` or the DICOM form, ``058Y``, ``011M``, ``003D``.

    If not a number, or outside 0 to ``limits.AGE_YEARS_MAX``, it is ``None`` and noted.
    """
    plain = (value or "").strip()
    if plain.casefold() in _EMPTY:
        return None
    match = _AGE.fullmatch(plain)
    years = float(match[1]) / _A_YEAR_HAS[match[2].upper()] if match else math.nan
    if not 0 <= years <= limits.AGE_YEARS_MAX:
        notes.add(NoteKind.UNUSABLE_AGES, plain)
        return None
    return years


def sex(value: str | None) -> str | None:
    """``M`` or ``F``; ``None`` for anything else."""
    plain = (value or "").strip().upper()
    return {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"}.get(plain)


def view(value: str | None, notes: ListingNotes) -> View:
    """View position; an unknown spelling is noted and gives ``UNKNOWN``."""
    plain = re.sub(r"[\s_-]+", " ", (value or "").strip()).casefold()
    plain = plain.removesuffix(" view")
    if plain in _EMPTY:
        return View.UNKNOWN
    if plain not in _VIEWS:
        notes.add(NoteKind.UNKNOWN_VIEWS, plain)
    return _VIEWS.get(plain, View.UNKNOWN)


def modality(value: str | None) -> Modality:
    """Imaging modality; ``UNKNOWN`` for an unknown word."""
    return _MODALITIES.get((value or "").strip().casefold(), Modality.UNKNOWN)


def split(value: str | None) -> str | None:
    """A published split's name -> ``train``, ``validation`` or ``test``; ``None`` for others."""
    split_name = _SPLITS.get((value or "").strip().casefold())
    return None if split_name is None else split_name.value
