"""Memory of all processes while images are scored, by their number, for each executor."""

from __future__ import annotations

import shutil
from typing import Any

from benchmarks import score_memory_child
from benchmarks.common import Options, Report, data_folder, goal, python, say, scratch
from benchmarks.memory import IMAGE_BYTES, watched
from benchmarks.pictures import DIFFERENT, pictures, write_images
from benchmarks.score import benchmark_bundle, link_images

IMAGES = (500, 32_000)
GOAL = 0.05
ENGINES = ("local", "spark")
_DIFFERENT_FILES = 2000
_KINDS = {
    "driver": "driver's Python",
    "jvm": "JVM",
    "worker": "largest Python worker",
    "other": "largest Python worker",
    "together": "all processes together",
}
"""a local worker is a child of the driver, not of Spark's daemon: another kind"""


def measure(options: Options) -> Report:
    """Peak memory at each number of images, each in a fresh process."""
    counts = options.score_images or IMAGES
    made_of = pictures(
        data_folder(options), size_bytes=IMAGE_BYTES, count=4 if options.small else DIFFERENT
    )
    peaks: dict[str, dict[int, dict[str, Any]]] = {engine: {} for engine in ENGINES}
    with scratch(options) as folder:
        bundle = benchmark_bundle(folder / "bundle", options.models[0])
        pool = write_images(folder / "pool", min(max(counts), _DIFFERENT_FILES), made_of)
        for count in counts:
            link_images(pool, count, folder / "images")
            for engine in ENGINES:
                command = python("-m", score_memory_child.__name__, engine, str(bundle))
                peaks[engine][count] = watched(
                    [*command, str(folder / "images"), str(folder / "out")]
                )
                say(f"  {engine}, {count} images: {peaks[engine][count]['seconds']}")
                shutil.rmtree(folder / "out")
    return _report(peaks, made_of.described(), options.models[0])


def _report(peaks: dict[str, dict[int, dict[str, Any]]], images: str, model: str) -> Report:
    rows, ratios, notes = [], {}, []
    counts = list(next(iter(peaks.values())))
    for engine, by_count in peaks.items():
        sampled = [each["sampled_mib"]["score"] for each in by_count.values()]
        # What a library forks from Spark's driver is no worker.
        kinds = [kind for kind in _KINDS if kind != ("other" if engine == "spark" else "worker")]
        for kind in kinds:
            values = [each.get(kind) for each in sampled]
            if None in values:
                continue
            ratios[f"{engine}, {kind}"] = values[-1] / values[0]
            cells = [f"{value:.0f}" for value in values]
            rows.append((engine, _KINDS[kind], *cells, f"{values[-1] / values[0]:.2f}"))
        grown = ratios[f"{engine}, together"]
        text = f"{engine}: all processes together flat within {GOAL:.0%}"
        notes.append(goal(text, grown <= 1 + GOAL) + f" ({grown:.2f})")
    return Report(
        name="score_memory",
        title=f"Memory of scoring with {model}, {counts[0]} to {counts[-1]} images; {images}",
        head=["engine", "MiB at most, images", *map(str, counts), "last of first"],
        rows=rows,
        notes=[*notes, "resident memory, every 50 ms, each column a fresh process"],
        figures={
            "images": images,
            "model": model,
            "sizes": {
                engine: {str(count): each for count, each in by_count.items()}
                for engine, by_count in peaks.items()
            },
            "last_of_first": ratios,
            "goal": GOAL,
        },
    )
