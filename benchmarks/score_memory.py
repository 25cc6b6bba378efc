"""Memory of driver, JVM and Python workers while films are scored, by their number."""

from __future__ import annotations

import shutil
from typing import Any

from benchmarks import score_memory_child
from benchmarks.common import Options, Report, data_folder, goal, python, say, scratch
from benchmarks.memory import FILM_BYTES, watched
from benchmarks.pictures import DIFFERENT, pictures, write_films
from benchmarks.score import DIFFERENT_FILES, benchmark_bundle, link_films

FILMS = (2000, 20_000)
GOAL = 0.10
_KINDS = {
    "driver": "driver's Python",
    "jvm": "JVM",
    "worker": "largest Python worker",
    "together": "all processes together",
}


def measure(options: Options) -> Report:
    """Peak memory at each number of films, each in a fresh process."""
    counts = options.films or FILMS
    made_of = pictures(
        data_folder(options), size_bytes=FILM_BYTES, count=4 if options.small else DIFFERENT
    )
    found: dict[int, dict[str, Any]] = {}
    with scratch(options) as folder:
        bundle = benchmark_bundle(folder / "bundle", options.models[0])
        pool = write_films(folder / "pool", min(max(counts), DIFFERENT_FILES), made_of)
        for count in counts:
            link_films(pool, count, folder / "films")
            command = ["-m", score_memory_child.__name__, str(bundle), str(folder / "films")]
            found[count] = watched(python(*command, str(folder / "out")))
            say(f"  {count} films: {found[count]['seconds']}")
            shutil.rmtree(folder / "out")
    return _report(found, made_of.described(), options.models[0])


def _report(found: dict[int, dict[str, Any]], films: str, model: str) -> Report:
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
        title=f"Memory of scoring with {model}, {min(found)} to {max(found)} films; {films}",
        head=["MiB at most, films", *map(str, found), "last of first"],
        rows=rows,
        notes=[
            goal(f"driver and worker memory flat within {GOAL:.0%}", met),
            "resident memory, every 50 ms, each column a fresh process",
        ],
        figures={
            "films": films,
            "model": model,
            "sizes": {str(count): told for count, told in found.items()},
            "last_of_first": ratios,
            "goal": GOAL,
        },
    )
