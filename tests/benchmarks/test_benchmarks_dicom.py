"""Stored pixels of real DICOM files beside an independent reading."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pulmospark.core.schemas import RejectReason

REASONS = {reason.value for reason in RejectReason}


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return importlib.import_module("benchmarks.dicom")


def test_pydicoms_own_files(bench: ModuleType) -> None:
    readings = [bench.compare(path) for path in bench.bundled_files()]
    pixels = Counter(reading.pixels for reading in readings)
    assert pixels["equal"] >= 60
    wrong = {
        reading.name: reading.pixels
        for reading in readings
        if reading.pixels not in ("equal", *REASONS)
    }
    # No plug-in opens it; its stream is that of JPGExtended.dcm, which one does.
    assert wrong == {"JPEG-lossy.dcm": "no reading"}
    paths = {path.name: path.read_bytes() for path in bench.bundled_files()}
    twins = [bench.first_frame(paths[name]) for name in ("JPEG-lossy.dcm", "JPGExtended.dcm")]
    assert np.array_equal(*twins) and np.ptp(twins[0]) > 100
    assert all(reading.ingest in ("image", "slices", *REASONS) for reading in readings)
    assert all(reading.detail for reading in readings if reading.ingest in REASONS)


def test_the_public_folders(bench: ModuleType, shared_data: Path) -> None:
    paths = sorted(shared_data.glob("dicom-cxr/*.dcm"))
    paths += sorted(shared_data.glob("ct-dicom/*/*/*.dcm"))[::7]
    readings = [bench.compare(path) for path in paths]
    assert {
        reading.name: reading.pixels for reading in readings if reading.pixels != "equal"
    } == {}
    refused = {reading.name for reading in readings if reading.ingest != "image"}
    assert {reading.ingest for reading in readings} == {"image", "other_body_part"}
    assert refused == {"RG3_J2KR.dcm"}  # a knee
