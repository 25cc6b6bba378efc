"""Damaged DICOM files: an image or a reject, in bounded time, and never anything raised."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging import dicoms
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import images_from_bytes

SYNTAXES = [dicoms.EXPLICIT, dicoms.IMPLICIT, dicoms.BIG_ENDIAN, dicoms.DEFLATED, *dicoms.ENCODERS]
WHOLE = {syntax: dicoms.sample(syntax) for syntax in SYNTAXES}


@pytest.fixture(autouse=True, scope="module")
def short_patience() -> Iterator[None]:
    """Damaged JPEG-LS may run into the limit; a test need not wait for all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "DECODE_SECONDS_MAX", 1.0)
        yield


damage = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
)


@pytest.mark.parametrize("syntax", SYNTAXES)
@given(flips=damage, kept=st.floats(0.02, 1.0) | st.just(1.0), early=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_is_raised(
    syntax: str, flips: list[tuple[float, int]], kept: float, early: bool
) -> None:
    data = bytearray(WHOLE[syntax])
    reach = min(len(data), 900) if early else len(data)
    for place, value in flips:
        data[int(place * reach)] = value
    begun = time.monotonic()
    found = images_from_bytes(bytes(data[: int(kept * len(data))]), IngestSettings(size=32))
    assert isinstance(found, Rejected) or len(found) >= 1
    most = limits.DECODER_START_SECONDS_MAX + limits.DECODER_SILENCE_SECONDS_MAX
    assert time.monotonic() - begun < most
