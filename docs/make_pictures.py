"""Makes the pictures of the README from phantoms: ``make pictures``.

It runs the demo, opens its report in Chromium, and computes the heat map of one test image.
``docs/assets/pictures.json`` keeps a hash of what each picture shows; a test compares it.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import pulmospark as ps

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "docs" / "assets"
RECORD = ASSETS / "pictures.json"
SHOWN = {
    "report.webp": ("src/pulmospark/report/templates/*",),
    "heat-map.webp": (
        "src/pulmospark/inference/explain/overlay.py",
        "src/pulmospark/phantoms/draw.py",
    ),
}
"""Picture -> patterns of the files that decide how what it shows looks."""

_SCREEN = {"width": 1300, "height": 1000}
_WIDTH, _GAP = 420, 12  # of an image and between two, pixels


def state(patterns: tuple[str, ...]) -> str:
    """A hash of the files that match, with their names."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Make all pictures, and the record of what they show."""
    run = ROOT / "build" / "pictures" / "phantom-demo"
    if not (run / "report.html").is_file():
        command = [sys.executable, "-m", "pulmospark", "demo", "--out", str(run.parent)]
        subprocess.run(command, check=True)
    subprocess.run([sys.executable, "-m", "pulmospark", "report", str(run)], check=True)
    _save(_screen(run / "report.html"), "report.webp")
    _save(_heat_map(run), "heat-map.webp")
    record = {name: state(patterns) for name, patterns in SHOWN.items()}
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _screen(page: Path) -> bytes:
    """The first screen of a page, as PNG."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        tab = browser.new_page(viewport=_SCREEN, color_scheme="light")
        tab.goto(page.as_uri())
        picture: bytes = tab.screenshot()
        browser.close()
    return picture


def _heat_map(run: Path) -> bytes:
    """The first test image classified correctly as COVID-19, next to its heat map, as PNG."""
    result = ps.open_run(run)
    rows = result.predictions()
    chosen = rows[(rows["label"] == "COVID-19") & (rows["prediction"] == "COVID-19")]
    uri = str(chosen.sort_values("image_id").iloc[0]["uri"])
    path = Path(uri.removeprefix("file://"))
    overlay = Image.open(io.BytesIO(ps.load(result.bundle).explain(path).overlay()))
    overlay = overlay.convert("RGB").resize((_WIDTH, overlay.height * _WIDTH // overlay.width))
    original = Image.open(path).convert("RGB")
    original = original.resize((_WIDTH, original.height * _WIDTH // original.width))
    both = Image.new("RGB", (2 * _WIDTH + _GAP, overlay.height), "black")
    both.paste(original, (0, 0))
    both.paste(overlay, (_WIDTH + _GAP, 0))
    return _png(both)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _save(png: bytes, name: str) -> None:
    """Write a picture as WebP."""
    Image.open(io.BytesIO(png)).save(ASSETS / name, "WEBP", quality=82, method=6)


if __name__ == "__main__":
    main()
