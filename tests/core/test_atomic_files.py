"""Files and folders that appear whole or not at all, and what is said where they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulmospark.core.errors import PlatformError
from pulmospark.core.files import whole_folder, write_text


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for target in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "out"):
        with (
            pytest.raises(PlatformError, match="is a file, but must be a folder"),
            whole_folder(target),
        ):
            pass
        with pytest.raises(PlatformError, match="is a file, but must be a folder"):
            write_text(target, "")
