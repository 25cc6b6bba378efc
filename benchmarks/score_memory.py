"""Memory of driver, JVM and Python workers while images are scored, by their number."""

from __future__ import annotations

import shutil
from typing import Any

from benchmarks import score_memory_child
from benchmarks.common import Options, Report, data_folder, goal, python, say, scratch
from benchmarks.memory import IMAGE_BYTES, watched
from benchmarks.pictures import DIFFERENT, pictures, write_images
from benchmarks.score import DIFFERENT_FILES, benchmark_bundle, link_images

IMAGES = (2000, 20_000)
GOAL = 0.10
_KINDS = {
    "driver": "driver's Python",
    "jvm": "JVM",
    "worker": "largest Python worker",
    "together": "all processes together",
}


def measure(options: Options) -> Report:
    """Peak memory at each number of images, each in a fresh process."""
    counts = options.score_images or IMAGES
    made_of = pictures(
        data_folder(options), size_bytes=IMAGE_BYTES, count=4 if options.small else DIFFERENT
    )
    found: dict[int, dict[str, Any]] = {}
    with scratch(options) as folder:
        bundle = benchmark_bundle(folder / "bundle", options.models[0])
        pool = write_images(folder / "pool", min(max(counts), DIFFERENT_FILES), made_of)
        for count in counts:
            link_images(pool, count, folder / "images")
            command = ["-m", score_memory_child.__name__, str(bundle), str(folder / "images")]
            found[count] = watched(python(*command, str(folder / "out")))
            say(f"  {count} images: {found[count]['seconds']}")
            shutil.rmtree(folder / "out")
    return _report(found, made_of.described(), options.models[0])


def _report(found: dict[int, dict[str, Any]], images: str, model: str) -> Report:
    rows, ratios = [], {}
    for kind, name in _KINDS.items():
        values = [told["sampled_mib"]["score"].get(kind) for told in found.values()]
        ratio = "-"
        if values[0] and values[-1]:
            ratios[kind] = values[-1] / values[0]
            ratio = f"{ratios[kind]:.2f}"
        rows.append((name, *("-" if v is None else f"{v:.0f}" for v in values), ratio))
    met = all(ratios.get(kind, 2.0) <= 1 + GOAL for kind in ("driver", "worker"))
    return Report(
        name="score_memory",
        title=f"Memory of scoring with {model}, {min(found)} to {max(found)} images; {images}",
        head=["MiB at most, images", *map(str, found), "last of first"],
        rows=rows,
        notes=[
            goal(f"driver and worker memory flat within {GOAL:.0%}", met),
            "resident memory, every 50 ms, each column a fresh process",
        ],
        figures={
            "images": images,
            "model": model,
            "sizes": {str(count): told for count, told in found.items()},
            "last_of_first": ratios,
            "goal": GOAL,
        },
    )
