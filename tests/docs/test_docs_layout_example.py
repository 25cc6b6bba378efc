"""The layout that the how-to writes is a layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docs.pages import blocks
from pulmospark.config.source import SourceSettings
from pulmospark.core.errors import LayoutError
from pulmospark.layouts import registry
from pulmospark.layouts.base import Layout, ListingNotes
from pulmospark.layouts.manifest import write_manifest


def test_the_layout_of_the_how_to_lists_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (b.text for b in blocks("python") if b.page.name == "new-layout.md")
    names: dict[str, Any] = {}
    exec(compile(code, "new-layout.md", "exec"), names)
    folder = tmp_path / "CXR_png"
    folder.mkdir()
    for name in ("CHNCXR_0001_0.png", "CHNCXR_0327_1.png"):
        (folder / name).write_bytes(b"image")
    layout: Layout = names["Shenzhen"]()
    assert layout.recognises(tmp_path) == 0.9
    assert layout.recognises(folder) == 0.0
    rows = list(layout.rows(tmp_path, layout.name, {}, ListingNotes()))
    assert [(row.patient_id, row.finding) for row in rows] == [
        ("shenzhen:0001", "normal"),
        ("shenzhen:0327", "tuberculosis"),
    ]
    # Registered, it is detected and listed, and no other layout claims the folder.
    with pytest.raises(LayoutError, match="no known layout matches"):
        registry.recognise(tmp_path)
    monkeypatch.setattr(registry, "LAYOUTS", (layout, *registry.LAYOUTS))
    assert registry.recognise(tmp_path).layout is layout
    source = SourceSettings(path=tmp_path)
    (listing,) = write_manifest([source], tmp_path.with_name("manifest.parquet"))
    assert (listing.layout, listing.findings) == ("shenzhen", {"normal": 1, "tuberculosis": 1})
