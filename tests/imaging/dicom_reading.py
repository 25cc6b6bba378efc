"""Reading of drawn DICOM files for tests, and what is refused of them."""

from __future__ import annotations

from typing import Any

import pytest
from numpy.typing import NDArray

from imaging import dicoms
from pulmospark.core.schemas import RejectReason as Why
from pulmospark.imaging.dicom.header import Header, read_header
from pulmospark.imaging.dicom.reader import Frame, open_dicom
from pulmospark.imaging.reject import RefusedError


def header_of(raw: NDArray[Any] | None = None, syntax: str = dicoms.EXPLICIT,
              **told: Any) -> Header:  # fmt: skip
    raw = dicoms.values(bits=8) if raw is None else raw
    return read_header(dicoms.file_of(dicoms.dataset(raw, **told), raw, syntax, loose=True))


def frame_of(raw: NDArray[Any], **told: Any) -> Frame:
    data = dicoms.file_of(dicoms.dataset(raw, **told), raw, loose=True)
    return open_dicom(data).frame(0, "lung")


def refused(what: Any, *arguments: Any, **more: Any) -> tuple[Why, str]:
    with pytest.raises(RefusedError) as caught:
        what(*arguments, **more)
    assert str(caught.value) == caught.value.detail
    return caught.value.reason, caught.value.detail
