"""Damaged DICOM files: a film or a reject, in bounded time, and never anything raised."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging import dicoms
from pulmospark.core import limits
from pulmospark.core.settings import IngestSettings
from pulmospark.imaging import jpegls_apart
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.film import films_from_bytes
from pulmospark.imaging.jpegls_apart import Failed, decode_jpegls

SYNTAXES = [dicoms.EXPLICIT, dicoms.IMPLICIT, dicoms.BIG_ENDIAN, dicoms.DEFLATED, *dicoms.ENCODERS]
WHOLE = {syntax: dicoms.sample(syntax) for syntax in SYNTAXES}

# A cut JPEG-LS scan on which CharLS 2.4.3 never comes to an end.
ENDLESS = bytes.fromhex(
    "ffd8fff7000b100032000a01011100fff8000d01ffff0018004d01220040ffda0008010100020000"
    "402010101020408208201fff7000000000000733182082108421080ff0665a1084210844407e04cc"
    "a22222222207c14ca88888888881f044ca2222"
)


@pytest.fixture(autouse=True, scope="module")
def short_patience() -> Iterator[None]:
    """Damaged JPEG-LS may run into the limit; a test need not wait for all of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "JPEG_LS_SECONDS_MAX", 3)
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
    found = films_from_bytes(bytes(data[: int(kept * len(data))]), IngestSettings(size=32))
    assert isinstance(found, Rejected) or len(found) >= 1
    most = limits.JPEG_LS_START_SECONDS_MAX + limits.JPEG_LS_SECONDS_MAX + 10
    assert time.monotonic() - begun < most


def test_a_decoder_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JPEG_LS_SECONDS_MAX", 1)
    with pytest.raises(Failed, match="not decoded within 1 s"):
        decode_jpegls(ENDLESS)
    # The next frame gets a new child.
    frame = dicoms.ENCODERS["1.2.840.10008.1.2.4.80"](dicoms.values(4))
    monkeypatch.undo()
    assert np.array_equal(jpegls_apart.decode_jpegls(frame), dicoms.values(4))


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A decoder of the test's own."""
    start, started = jpegls_apart._child.__wrapped__, []

    def child(parent: int) -> jpegls_apart._Child:
        started.append(start(parent))
        return started[-1]

    monkeypatch.setattr(jpegls_apart, "_child", functools.lru_cache(maxsize=1)(child))
    yield
    for made in started:
        jpegls_apart._end(made.process)


def test_a_slow_start_is_not_taken_for_a_slow_frame(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = f"import time; time.sleep(1.2)\n{jpegls_apart._PROGRAM}"
    monkeypatch.setattr(jpegls_apart, "_PROGRAM", slow)
    monkeypatch.setattr(limits, "JPEG_LS_SECONDS_MAX", 1)
    frame = dicoms.ENCODERS["1.2.840.10008.1.2.4.80"](dicoms.values(4))
    assert np.array_equal(decode_jpegls(frame), dicoms.values(4))


def test_a_decoder_that_does_not_start_is_ended(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpegls_apart, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(limits, "JPEG_LS_START_SECONDS_MAX", 0.2)
    with pytest.raises(Failed, match=r"the decoder did not start within 0\.2 s"):
        decode_jpegls(ENDLESS)
