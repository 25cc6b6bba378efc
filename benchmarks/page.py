"""The page in Chromium: from opening it to the first paint, and from an upload to the result.

Each round opens the page in a fresh context (nothing cached), gives it an image of 1024 x 1024
pixels as a user chooses a file, and waits until image, heat map and findings are shown. The times
are the browser's own: ``first-contentful-paint``, and from the file's choice to the frame in which
the result is complete.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2

from benchmarks.common import Options, Report, goal, python, say, scratch
from benchmarks.score import benchmark_bundle

GOAL_PAINT = 0.5
GOAL_READY = 1.0
_SIDE = 1024
_START_SECONDS_MAX = 120
_CHOSEN = """() => document.getElementById("choose-files").addEventListener(
  "change", () => { window.chosenAt = performance.now(); }, { capture: true })"""
_COMPLETE = """() => {
  const heat = document.querySelector(".controls.heat");
  const shown = document.querySelector(".findings .answer") && heat && !heat.hidden
    && document.querySelector(".stage-caption").textContent;
  return shown ? performance.now() - window.chosenAt : null;
}"""


def measure(options: Options) -> Report:
    """First paint, and upload to result, in rounds."""
    from playwright.sync_api import sync_playwright

    rounds = 2 if options.small else options.repeats or 10
    model = "squeezenet1_1" if options.small else "mobilenet_v2"
    paints, readies = [], []
    with scratch(options) as folder:
        bundle = benchmark_bundle(folder / "bundle", model)
        with _service(bundle, folder) as base, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=_chromium(), args=["--no-sandbox"]
            )
            for turn, image in enumerate(_images(folder, rounds + 1)):
                page = browser.new_context(viewport={"width": 1300, "height": 850}).new_page()
                page.goto(base)
                paint = page.evaluate(
                    "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                )
                page.evaluate(_CHOSEN)
                page.set_input_files("#choose-files", image)
                handle = page.wait_for_function(_COMPLETE, polling="raf", timeout=60_000)
                ready = handle.json_value()
                page.context.close()
                if turn:  # the first round warms the service and the browser's own files
                    paints.append(paint / 1000)
                    readies.append(ready / 1000)
                    say(f"  round {turn}: paint {paint:.0f} ms, upload to result {ready:.0f} ms")
            browser.close()
    paint, ready = statistics.median(paints), statistics.median(readies)
    return Report(
        name="page",
        title=f"The page in Chromium, {model}, an image of {_SIDE} x {_SIDE} with its heat map",
        head=("what", "median, s", "range, s", "goal, s"),
        rows=[
            _row("opening to first paint, nothing cached", paints, GOAL_PAINT),
            _row("file chosen to image, heat map and findings", readies, GOAL_READY),
        ],
        notes=[
            goal(f"first paint <= {GOAL_PAINT} s", paint <= GOAL_PAINT),
            goal(f"ready after an upload <= {GOAL_READY:g} s", ready <= GOAL_READY),
        ],
        figures={"paint_seconds": paints, "ready_seconds": readies, "model": model},
    )


@contextlib.contextmanager
def _service(bundle: Path, folder: Path) -> Iterator[str]:
    log = folder / "serve.log"
    command = python("-m", "pulmospark", "serve", str(bundle), "--port", "0")
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--state", str(folder / "state")], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield _address(process, log)
    finally:
        process.terminate()
        process.wait(60)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + _START_SECONDS_MAX
    while time.monotonic() < until and process.poll() is None:
        for word in log.read_text().split():
            if word.startswith("http://"):
                with contextlib.suppress(urllib.error.URLError):
                    urllib.request.urlopen(f"{word}/ready").close()
                    return word
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start: {log.read_text()}")


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (path := shutil.which(name)) is not None:
            return path
    raise RuntimeError("no Chromium is installed: install it (Debian: apt install chromium)")


def _images(folder: Path, count: int) -> list[Path]:
    """Phantoms, scaled up; no two are the same."""
    from pulmospark.phantoms.write import write_phantoms

    write_phantoms(folder / "phantoms", seed=1, patients=max(16, count), laterals=0, broken=False)
    images: list[Path] = []
    for source in sorted((folder / "phantoms").rglob("*.png"))[:count]:
        pixels = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        images.append(folder / f"image-{len(images)}.png")
        large = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(images[-1]), large)
    return images


def _row(name: str, seconds: list[float], most: float) -> tuple[str, ...]:
    middle = statistics.median(seconds)
    return (name, f"{middle:.3f}", f"{min(seconds):.3f} to {max(seconds):.3f}", f"{most:g}")
