"""One image in every transfer syntax: its grey is the uncompressed one's."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pulmospark.imaging.decode import Decoded, decode

bench: Any = importlib.import_module("benchmarks.dicom_syntaxes")


@pytest.fixture(scope="module")
def dcmtk() -> None:
    """DCMTK's programs, which write transfer syntaxes without any of our libraries."""
    missing = [program for program in bench.DCMTK if shutil.which(program) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"{', '.join(missing)}: DCMTK must be there in CI: apt-get install dcmtk")
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed: apt-get install dcmtk")


@pytest.mark.parametrize("bits", bench.DEPTHS)
@pytest.mark.parametrize("signed", [False, True])
def test_syntaxes_that_imagecodecs_writes(bits: int, signed: bool) -> None:
    pixels = bench.image(bits, signed=signed)
    variants = list(bench.codec_variants(pixels, bits))
    assert len(variants) >= 15
    _compare(bench.file_of(pixels, bits), variants)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_syntaxes_that_dcmtk_writes(dcmtk: None, tmp_path: Path, bits: int, signed: bool) -> None:
    plain = bench.file_of(bench.image(bits, signed=signed), bits)
    variants = list(bench.dcmtk_variants(plain, tmp_path))
    assert len(variants) >= 9
    _compare(plain, variants)


def _compare(plain: bytes, variants: list[Any]) -> None:
    expected = _grey(plain)
    # The window holds all values, so that grey is known without any decoder.
    assert np.ptp(expected) == 255
    apart = {
        variant.name: float(np.abs(expected - _grey(variant.data)).mean()) for variant in variants
    }
    limits = {variant.name: variant.limit for variant in variants}
    assert {name: mean for name, mean in apart.items() if mean > limits[name]} == {}


def _grey(data: bytes) -> Any:
    outcome = decode(data, at_least=32)
    assert isinstance(outcome, Decoded), outcome
    return outcome.grey.astype(np.float64)


def test_the_uncompressed_image_is_what_was_drawn() -> None:
    """By hand: the window's centre in the middle, its width all values."""
    for bits in (8, 12, 16):
        for signed in (False, True):
            pixels = bench.image(bits, signed=signed)
            low = -(2 ** (bits - 1)) if signed else 0
            exact = (pixels.astype(np.float64) - low) / (2**bits - 1) * 255
            assert np.abs(_grey(bench.file_of(pixels, bits)) - exact).max() <= 1
