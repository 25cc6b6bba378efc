"""The body part in a DICOM header: the chest, another part, or unrecognised.

BodyPartExamined is often wrong or empty (Güld et al., "Quality of DICOM header information for
image categorization", 2002, found 15 % of wrong entries), and written in any language. So only a
word of a closed list rules an image out; one of no list is noted, and never repeated.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from pulmospark.core.schemas import BodyPart

_CHEST_STEMS: Final = (
    "CHEST", "THORAX", "THORAC", "TORAX", "TORAC", "LUNG", "PULMO", "POUMON", "MEDIASTIN",
    "HEART", "CARDI", "STERNUM", "BRUST", "PECHO", "POITRINE", "PEITO", "TORSO", "TRUNK",
    "BABYGRAM",
)  # fmt: skip
_CHEST_WORDS: Final = frozenset({"CXR", "RIB", "RIBS", "BODY", "WHOLEBODY"})
"""with stems: the terms of PS3.16, Annex L, in use for the chest, for what lies in it and for the
whole body, and their common translations"""

_OTHER_STEMS: Final = (
    "SPINE", "EXTREMIT", "KNEE", "ANKLE", "FOOT", "FEET", "HAND", "WRIST", "FINGER", "THUMB",
    "ELBOW", "SHOULDER", "HUMERUS", "FOREARM", "FEMUR", "THIGH", "TIBIA", "FIBULA", "CALCAN",
    "PATELLA", "PELVI", "ABDOM", "SKULL", "HEAD", "BRAIN", "CRANI", "NECK", "MANDIB", "MAXILL",
    "TEETH", "TOOTH", "DENTAL", "ORBIT", "SINUS", "FACIAL", "NASAL", "SACRUM", "SACROIL", "COCCY",
    "LUMBAR", "CERVICAL", "BREAST", "CLAVIC", "SCAPULA", "KIDNEY", "BLADDER", "LIVER", "COLON",
    "STOMACH", "UTERUS", "PROSTATE", "RADIUS", "METACARP", "METATARS", "TARSAL", "CARPAL",
    "GENOU", "RODILLA", "RACHIS", "COLUMNA", "WIRBEL", "SCHADEL", "BECKEN", "CABEZA", "EPAULE",
    "CHEVILLE", "POIGNET", "HANCHE",
)  # fmt: skip
_OTHER_WORDS: Final = frozenset({
    "ARM", "ARMS", "LEG", "LEGS", "HIP", "HIPS", "TOE", "TOES", "JAW", "JAWS", "EYE", "EYES",
    "EAR", "EARS", "FACE", "NOSE", "TMJ", "IAC", "ULNA", "HEEL", "KNIE", "FUSS", "KUB", "MANO",
    "PIED", "PIE", "BEIN", "LIMB", "UPPERLIMB", "LOWERLIMB",
})  # fmt: skip

_SILENT_WORDS: Final = frozenset({
    "UNKNOWN", "UNDEFINED", "UNSPECIFIED", "OTHER", "NONE", "NA", "NULL", "DEFAULT", "ANY", "ALL",
    "XRAY",
})  # fmt: skip
"""of consoles on which nothing was chosen"""

_CHEST_CODES: Final = frozenset({
    "113197003", "38266002", "39607008", "416152001", "416319003", "416550000", "416775004",
    "417437006", "43799004", "44567001", "51185008", "56873002", "72410000",
    "7844006", "80891009", "816094009", "86598002", "955009", "R-FAB52", "R-FAB53", "R-FAB54",
    "R-FAB55", "R-FAB56", "R-FE0C7", "T-11210", "T-11300", "T-15610", "T-25000", "T-26000",
    "T-28000", "T-280A0", "T-32000", "T-D0010", "T-D3000", "T-D3200", "T-D3300",
})  # fmt: skip
_OTHER_CODES: Final = frozenset({
    "102292000", "110517009", "110621006", "110639002", "110861005", "1217253001", "1217254007",
    "1217256009", "1217257000", "122494005", "122495006", "122496007", "1231522001", "13648007",
    "13881006", "14742008", "14975008", "15776009", "16953009", "16982005", "2095001", "21306003",
    "22356005", "24136001", "27949001", "28231008", "28273000", "29707007", "29836001",
    "30021000", "30315005", "303270005", "30608006", "32849002", "34402009", "34516001",
    "34707002", "361078006", "363654007", "371195002", "371398005", "38848004", "39723000",
    "40983000", "41216001", "421060004", "42575006", "431491007", "45048000", "45289007",
    "4596009", "51299004", "53120007", "53505006", "53620006", "54019009", "54735007", "55024004",
    "56459004", "58742003", "59066005", "61685007", "64234005", "64688005", "66019005", "661005",
    "68367000", "69536005", "69695003", "69930009", "70258002", "70925003", "71341001",
    "71854001", "72001000", "72696002", "74386004", "74670003", "7569003", "76505004", "76752008",
    "774007", "79601000", "79741001", "80144004", "816092008", "81745001", "818981001",
    "818982008", "85050009", "85562004", "85856004", "87342007", "87953007", "89546000",
    "89837001", "91397008", "91609006", "T-04000", "T-11011", "T-11100", "T-11102", "T-11133",
    "T-11149", "T-11166", "T-11170", "T-11180", "T-11196", "T-11501", "T-11502", "T-11503",
    "T-11AD0", "T-11BF0", "T-12280", "T-12310", "T-12340", "T-12410", "T-12700", "T-12710",
    "T-12730", "T-12750", "T-12770", "T-12980", "T-13600", "T-14668", "T-15290", "T-15420",
    "T-15430", "T-15460", "T-15680", "T-15710", "T-15750", "T-15770", "T-22000", "T-24100",
    "T-50007", "T-56000", "T-57000", "T-58000", "T-58200", "T-58400", "T-58600", "T-59000",
    "T-59300", "T-59600", "T-59900", "T-60600", "T-60610", "T-61100", "T-61300", "T-63000",
    "T-64500", "T-65000", "T-65010", "T-65600", "T-7000B", "T-73000", "T-74000", "T-75000",
    "T-88920", "T-92000", "T-AA000", "T-AB959", "T-D0300", "T-D04FF", "T-D0801", "T-D0821",
    "T-D1000", "T-D1100", "T-D1213", "T-D1460", "T-D14AE", "T-D1600", "T-D2220", "T-D2500",
    "T-D8000", "T-D8200", "T-D8500", "T-D8700", "T-D8800", "T-D8810", "T-D9000", "T-D9100",
    "T-D9200", "T-D9400", "T-D9700", "T-D9800", "T-DD163",
})  # fmt: skip
"""code values of PS3.16, CID 4031 (Common Anatomic Region), in SNOMED CT and in SNOMED RT"""


def body_part_of(words: Iterable[str], codes: Iterable[str]) -> BodyPart:
    """The body part in a header.

    A region that holds the chest among others is the chest, and so is a header that names it in
    one place and something else in another.

    Args:
        words: values of BodyPartExamined.
        codes: code values of the items of AnatomicRegionSequence.
    """
    named = [_by_word(word) for word in words if word.strip()]
    named += [_by_code(code) for code in codes if code.strip()]
    for part in (BodyPart.CHEST, BodyPart.OTHER, BodyPart.UNRECOGNISED):
        if part in named:
            return part
    return BodyPart.UNKNOWN


def _by_word(word: str) -> BodyPart:
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode().upper()
    tokens = frozenset(re.findall("[A-Z]+", plain))
    joined = re.sub("[^A-Z]", "", plain)
    # "THORACIC SPINE" is no chest.
    spine = re.search("SPINE|LUMBAR|VERTEBR", joined) and "CHEST" not in joined
    stems = not spine and any(stem in joined for stem in _CHEST_STEMS)
    if stems or tokens & _CHEST_WORDS:
        return BodyPart.CHEST
    if any(stem in joined for stem in _OTHER_STEMS) or tokens & _OTHER_WORDS:
        return BodyPart.OTHER
    return BodyPart.UNKNOWN if joined in _SILENT_WORDS else BodyPart.UNRECOGNISED


def _by_code(code: str) -> BodyPart:
    value = code.strip().upper()
    if value in _CHEST_CODES:
        return BodyPart.CHEST
    return BodyPart.OTHER if value in _OTHER_CODES else BodyPart.UNKNOWN
