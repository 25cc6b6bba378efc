"""Which images are of a chest, as far as their DICOM headers go."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.uid import (
    DigitalIntraOralXRayImageStorageForPresentation,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from imaging import dicoms
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.schemas import BodyPart, RejectReason
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.dicom.body_part import body_part_of
from pulmospark.imaging.dicom.reader import open_dicom
from pulmospark.imaging.image import images_from_bytes


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (
            BodyPart.CHEST,
            "CHEST;chest;THORAX;TÓRAX;CHEST_TO_PELVIS;CHESTABDPELVIS;NECKCHEST;LUNG;RIBS;HEART;"
            "Port Chest;CXR;WHOLEBODY;Brustkorb;CHEST PA",
        ),
        (
            BodyPart.OTHER,
            "EXTREMITY;KNEE;LOWER EXTREMITY;HAND;SKULL;JAW;TEETH;ABDOMEN;PELVIS;CSPINE;TSPINE;"
            "THORACIC SPINE;THORACOLUMBAR SPINE;LSPINE;BREAST;FOOT;HIP;Rodilla;HEADNECK;LEG",
        ),
        (BodyPart.UNRECOGNISED, "ZQCANARY7;PORTABLE;??"),
        (BodyPart.UNKNOWN, ";UNKNOWN;  ;N/A"),
    ],
)
def test_words_of_consoles(part: BodyPart, words: str) -> None:
    assert {word: body_part_of([word], []) for word in words.split(";")} == dict.fromkeys(
        words.split(";"), part
    )


def test_the_chest_anywhere_goes_before_another_part() -> None:
    assert body_part_of(["ABDOMEN", "CHEST"], []) is BodyPart.CHEST
    assert body_part_of(["EXTREMITY"], [codes.SCT.Chest.value]) is BodyPart.CHEST
    assert body_part_of(["PORTABLE"], [codes.SCT.Knee.value]) is BodyPart.OTHER


def test_codes_are_those_of_pydicom_s_dictionary() -> None:
    """Every concept of PS3.16, CID 4031 (Common Anatomic Region) is one or the other."""
    chest = {"Chest", "ChestAndAbdomen", "NeckAndChest", "Rib", "Heart", "Mediastinum", "Sternum"}
    other = {"Knee", "Hand", "Skull", "Mandible", "Abdomen", "Pelvis", "Foot", "CervicalSpine"}
    for names, part in ((chest, BodyPart.CHEST), (other, BodyPart.OTHER)):
        for name in names:
            assert body_part_of([], [getattr(codes.SCT, name).value]) is part, name
    undecided = [
        code.meaning
        for name in codes.CID4031.dir()
        if body_part_of([], [(code := getattr(codes.CID4031, name)).value]) is BodyPart.UNKNOWN
    ]
    assert undecided in ([], ["Phantom"])


def region(code: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code, "SCT"
    return Sequence([item])


@pytest.mark.parametrize(
    ("told", "part"),
    [
        ({"BodyPartExamined": "KNEE"}, BodyPart.OTHER),
        ({"BodyPartExamined": "CHEST"}, BodyPart.CHEST),
        ({"AnatomicRegionSequence": region("72696002")}, BodyPart.OTHER),
        ({"AnatomicRegionSequence": region("816094009")}, BodyPart.CHEST),
        ({}, BodyPart.UNKNOWN),
    ],
)
def test_a_header_s_body_part(told: dict[str, Any], part: BodyPart) -> None:
    data = dicoms.image(**told)
    assert open_dicom(data).facts.body_part is part
    images = images_from_bytes(data, IngestSettings(size=32))
    if part is BodyPart.OTHER:
        assert isinstance(images, Rejected)
        assert images.reason is RejectReason.OTHER_BODY_PART
        images = images_from_bytes(data, IngestSettings(size=32, body_parts="any"))
    assert isinstance(images, list)
    assert images[0].header is not None
    assert images[0].header.body_part is part


@pytest.mark.parametrize(
    "uid",
    [
        DigitalIntraOralXRayImageStorageForPresentation,
        DigitalMammographyXRayImageStorageForPresentation,
        MRImageStorage,
        PositronEmissionTomographyImageStorage,
        RTImageStorage,
        UltrasoundMultiFrameImageStorage,
    ],
)
def test_a_sop_class_of_something_else_goes_before_the_modality(uid: str) -> None:
    images = images_from_bytes(dicoms.image(SOPClassUID=uid), IngestSettings(size=32))
    assert isinstance(images, Rejected)
    assert images.reason is RejectReason.OTHER_MODALITY
    assert uid not in images.detail


@pytest.mark.parametrize(
    "uid", [DigitalXRayImageStorageForPresentation, SecondaryCaptureImageStorage]
)
def test_x_rays_and_captures_are_read(uid: str) -> None:
    assert isinstance(
        images_from_bytes(dicoms.image(SOPClassUID=uid), IngestSettings(size=32)), list
    )
