"""What keeps a stream's tables quick to open, and what is said where it is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pulmospark.inference.stream.upkeep import warn_without_checkpoints
from pulmospark.store.places import DiskPlace


def test_a_stream_without_deltalake_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    warn_without_checkpoints(DiskPlace(tmp_path))
    assert not caplog.messages
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    warn_without_checkpoints(DiskPlace(tmp_path))
    (message,) = caplog.messages
    assert "get no checkpoints" in message
    assert ".[store]" in message
