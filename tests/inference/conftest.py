"""Fixtures of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bundles import write_untrained


@pytest.fixture(autouse=True, scope="package")
def one_torch_thread() -> Iterator[None]:
    """Small tensors on many threads only make them wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See ``write_untrained``."""
    return write_untrained(tmp_path_factory.mktemp("bundles") / "untrained")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, one text that says it is a picture, and a sheet: ``a.png`` to ``d.png``."""
    folder = tmp_path_factory.mktemp("some") / "images"
    (folder / "deep").mkdir(parents=True)
    random = np.random.default_rng(4)
    for name in ("a.png", "b.png", "deep/c.png"):
        Image.fromarray(random.integers(0, 256, (80, 70), dtype=np.uint8)).save(folder / name)
    (folder / "d.png").write_text("no picture", encoding="utf-8")
    (folder / "notes.txt").write_text("not seen", encoding="utf-8")
    return folder
