"""What a DICOM header says of the image: numbers and words of closed lists, never its own text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from pulmospark.core import limits
from pulmospark.core.schemas import BodyPart, Modality, RejectReason, View
from pulmospark.imaging.dicom.body_part import body_part_of
from pulmospark.imaging.dicom.header import Header, sequence, text_of
from pulmospark.imaging.reject import RefusedError

XRAYS: Final = frozenset({"CR", "DX", "RG"})
"""modalities of images: computed, digital and plain radiography"""
CAPTURES: Final = frozenset({"", "OT", "SC"})
"""modalities of secondary captures, images digitised or exported; their content is not declared"""

_OTHERS: Final = frozenset({
    "AR", "AU", "BDUS", "BI", "BMD", "CFM", "CTPROTOCOL", "DG", "DMS", "DOC", "ECG",
    "EEG", "EMG", "EOG", "EPS", "ES", "FID", "GM", "HC", "HD", "IO", "IOL", "IVOCT",
    "IVUS", "KER", "KO", "LEN", "LS", "MG", "MR", "M3D", "NM", "OAM", "OCT", "OP", "OPM",
    "OPT", "OPTBSV", "OPTENF", "OPV", "OSS", "PA", "PLAN", "POS", "PR", "PT", "PX",
    "REG", "RESP", "RF", "RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD",
    "RTSEGANN", "RTSTRUCT", "RWV", "SEG", "SM", "SMR", "SR", "SRF", "STAIN",
    "TEXTUREMAP", "TG", "US", "VA", "XA", "XAPROTOCOL", "XC"
})  # fmt: skip
"""other modalities of PS3.3, C.7.3.1.1.1; a word of another kind is not repeated"""

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_OTHER_SOP_NAMES: Final = {
    f"{_STORAGE}{number}": name
    for number, name in (
        ("1.2", "mammography"),
        ("1.3", "intra-oral"),
        ("3", "ultrasound"),
        ("4", "MR"),
        ("6", "ultrasound"),
        ("12", "angiography or fluoroscopy"),
        ("13", "3D X-ray"),
        ("20", "nuclear medicine"),
        ("77", "visible light or eye"),
        ("128", "PET"),
        ("130", "PET"),
        ("481", "radiotherapy"),
    )
}
"""beginnings of SOP class UIDs of PS3.4, table B.5-1, whose images are neither chest X-rays nor CT
slices, whatever the modality says"""

_VIEWS: Final = {
    "PA": View.PA,
    "AP": View.AP,
    "LL": View.LATERAL,
    "RL": View.LATERAL,
    "LLD": View.FRONTAL,
    "RLD": View.FRONTAL,
    "LATERAL": View.LATERAL,
    "LAT": View.LATERAL,
}
"""view positions; a decubitus image is taken from the front, the patient lying on a side"""

# Code values of PS3.16, CID 4010, in SNOMED CT and in the older SNOMED RT.
_VIEW_CODES: Final = {
    "399348003": View.AP,
    "R-10206": View.AP,
    "272479007": View.PA,
    "R-10214": View.PA,
    "R-40888": View.PA,
    "399033003": View.FRONTAL,
    "R-10202": View.FRONTAL,
    "399067008": View.LATERAL,
    "R-102CD": View.LATERAL,
    "399173006": View.LATERAL,
    "R-10236": View.LATERAL,
    "399198007": View.LATERAL,
    "R-10232": View.LATERAL,
}
_SUPINE_CODES: Final = frozenset({"40199007", "F-10340"})
_AGE: Final = re.compile(r"(\d{1,3})([DWMY]?)")
_YEAR_HAS: Final = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.2425}


@dataclass(frozen=True)
class DicomFacts:
    """Facts from a header; ``None`` or unknown where it is silent or invalid."""

    modality: Modality
    view: View
    laterality: str | None
    """``L`` or ``R``: the side next to the detector, or the side that is shown"""
    age: float | None
    """years, at most ``limits.PSEUDONYM_AGE_MAX``"""
    sex: str | None
    """``M`` or ``F``"""
    burned_in: bool | None
    """whether the pixels contain burned-in text"""
    body_part: BodyPart
    number: int | None
    """instance number: place in the series"""
    patient: str
    study: str
    series: str
    """identifiers as they stand in the header: for hashing, and for nothing else"""

    def __repr__(self) -> str:
        return f"DicomFacts({self.modality.value}, {self.view.value})"


def facts_of(header: Header) -> DicomFacts:
    """Read the facts of a header.

    Raises:
        RefusedError: it is an image, and neither an image nor a CT slice.
    """
    word = header.word("Modality")
    modality = _modality(word)
    if (other := _other_sop_class(header)) is not None:
        raise RefusedError(
            RejectReason.OTHER_MODALITY,
            f"dicom: its SOP class is one of {other}, whatever the modality",
        )
    return DicomFacts(
        modality=modality,
        view=View.AXIAL if modality is Modality.CT else _view(header),
        laterality=_laterality(header),
        age=_age(header),
        sex={"M": "M", "F": "F"}.get(header.word("PatientSex")),
        burned_in={"YES": True, "NO": False}.get(header.word("BurnedInAnnotation")),
        body_part=body_part_of(
            header.words("BodyPartExamined"),
            (text_of(item, "CodeValue") for item in header.items("AnatomicRegionSequence")),
        ),
        number=_number(header),
        patient=text_of(header.dataset, "PatientID"),
        study=text_of(header.dataset, "StudyInstanceUID"),
        series=text_of(header.dataset, "SeriesInstanceUID"),
    )


def _modality(word: str) -> Modality:
    if word in XRAYS:
        return Modality.XRAY
    if word == "CT":
        return Modality.CT
    if word in CAPTURES:
        return Modality.UNKNOWN
    named = word if word in _OTHERS else "no known one"
    raise RefusedError(
        RejectReason.OTHER_MODALITY,
        f"dicom: modality {named}; CR, DX, CT and secondary captures are read",
    )


def _other_sop_class(header: Header) -> str | None:
    """Kind of image of a SOP class; ``None``: possibly an X-ray or a CT slice."""
    uid = header.word("SOPClassUID")
    return next(
        (
            name
            for start, name in _OTHER_SOP_NAMES.items()
            if uid == start or uid.startswith(f"{start}.")
        ),
        None,
    )


def _view(header: Header) -> View:
    view = _VIEWS.get(header.word("ViewPosition")) or _coded_view(header)
    if view is None:
        view = _oriented_view(header.words("PatientOrientation"))
    if view is View.AP and _is_supine(header):
        return View.AP_SUPINE
    return view or View.UNKNOWN


def _coded_view(header: Header) -> View | None:
    for item in header.items("ViewCodeSequence"):
        if (view := _VIEW_CODES.get(_code(item))) is not None:
            return view
    return None


def _oriented_view(directions: tuple[str, ...]) -> View | None:
    """By where the rows run: across the patient from the front, from front to back aside."""
    if len(directions) != 2 or directions[1][:1] not in ("F", "H"):
        return None
    first = directions[0][:1]
    return View.FRONTAL if first in ("L", "R") else View.LATERAL if first in ("A", "P") else None


def _is_supine(header: Header) -> bool:
    """PS3.3, C.8.11.5: an orientation's modifiers are in the orientation's item; some writers
    put them next to it."""
    places = (*header.items("PatientOrientationCodeSequence"), header.dataset)
    return any(
        _code(item) in _SUPINE_CODES
        for place in places
        for item in sequence(place, "PatientOrientationModifierCodeSequence")
    )


def _code(item: Dataset) -> str:
    return text_of(item, "CodeValue").upper()


def _laterality(header: Header) -> str | None:
    side = {"LL": "L", "RL": "R"}.get(header.word("ViewPosition"))
    for keyword in ("ImageLaterality", "Laterality"):
        side = side or {"L": "L", "R": "R"}.get(header.word(keyword))
    return side


def _age(header: Header) -> float | None:
    match = _AGE.fullmatch(header.word("PatientAge"))
    if match is None:
        return None
    years = float(match[1]) / _YEAR_HAS[match[2]]
    return min(years, float(limits.PSEUDONYM_AGE_MAX)) if years <= limits.AGE_YEARS_MAX else None


def _number(header: Header) -> int | None:
    try:
        number = header.whole("InstanceNumber", -1)
    except RefusedError:
        return None
    return number if 0 <= number < 2**31 else None
