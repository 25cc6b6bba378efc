"""DICOM films: transfer syntaxes, transforms in their order, limits, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from imaging import dicoms
from pulmospark.core import limits
from pulmospark.core.tables import RejectReason as Why
from pulmospark.imaging.decode import Decoded, Rejected, decode


def grey(data: bytes, **options: object) -> np.ndarray:
    found = decode(data, at_least=32, **options)  # type: ignore[arg-type]
    assert isinstance(found, Decoded), found
    assert found.format == "dicom"
    return found.grey


def reason(data: bytes) -> Why:
    found = decode(data, at_least=32)
    assert isinstance(found, Rejected), "decoded"
    return found.reason


@pytest.mark.parametrize(
    "syntax",
    [dicoms.EXPLICIT, dicoms.IMPLICIT, dicoms.BIG_ENDIAN, dicoms.DEFLATED,
     "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"],
)  # fmt: skip
def test_every_lossless_syntax_gives_the_same_film(syntax: str) -> None:
    told = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert np.array_equal(grey(dicoms.film(syntax=syntax, **told)), grey(dicoms.film(**told)))


def test_monochrome1_is_the_inverse() -> None:
    told = {"WindowCenter": 1500, "WindowWidth": 2000}
    white = grey(dicoms.film(PhotometricInterpretation="MONOCHROME1", **told))
    assert np.array_equal(white, 255 - grey(dicoms.film(**told)))


def test_the_first_of_several_windows_is_taken() -> None:
    both = dicoms.film(WindowCenter=[1500, 300], WindowWidth=[2000, 50])
    assert np.array_equal(grey(both), grey(dicoms.film(WindowCenter=1500, WindowWidth=2000)))


def test_a_size_over_the_limit_is_refused_before_decoding() -> None:
    pixels = dicoms.values()
    made = dicoms.dataset(pixels, Rows=60_000, Columns=60_000)
    assert reason(dicoms.file_of(made, pixels)) is Why.TOO_MANY_PIXELS


def test_other_modalities_and_objects_without_pixels_are_refused() -> None:
    assert reason(dicoms.film(Modality="MR")) is Why.OTHER_MODALITY
    assert reason(dicoms.film(Modality="CT", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])) is (
        Why.OTHER_MODALITY
    )
    whole = dicoms.film()
    assert reason(whole[: len(whole) // 2]) is Why.TRUNCATED
    assert limits.DICOM_FRAMES_MAX < 10_000
