"""The layout that the how-to writes is a layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docs.pages import blocks
from pulmospark.layouts.base import Layout, ListingNotes


def test_the_layout_of_the_how_to_lists_a_folder(tmp_path: Path) -> None:
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
