"""A small set of phantoms, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulmospark.phantoms.write import PhantomSummary, write_phantoms


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> PhantomSummary:
    """36 patients, six laterals, the four broken files."""
    folder = tmp_path_factory.mktemp("phantoms") / "set"
    return write_phantoms(Path(folder), seed=3, patients=36, laterals=6)
