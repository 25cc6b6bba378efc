"""CC-CCII at its full size: manifest with all its checks, split and audits; time and memory."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import ccccii_child
from benchmarks.common import Options, Report, goal, python, say, scratch
from benchmarks.memory import watched

SLICES_EACH = 75
"""slices of a scan, so that two scans a patient make 617,775 slices of some 4,100 patients"""
SCANS_EACH = 2
_POOL = 512
"""different files; the tree is made of hard links to them, so that it fits a small disk"""
_GOAL_GROWTH = 1.5
"""seconds a slice at the largest size, of those at the smallest"""
_GOAL_SECONDS = 600.0
_LABELS = ("NCP", "CP", "Normal")
_STAGES = ("manifest", "split", "audits")


def measure(options: Options) -> Report:
    """Seconds and peak memory of each stage, each size in a fresh process."""
    found: dict[int, dict[str, Any]] = {}
    with scratch(options) as folder:
        pool = write_pool(folder / "pool")
        for count in options.slices:
            tree = folder / "CC-CCII"
            write_tree(tree, count, pool, each=10 if options.small else SLICES_EACH)
            command = python("-m", ccccii_child.__name__, str(tree), str(folder / "run"))
            found[count] = watched(command)
            say(f"  {count} slices: {found[count]['seconds']}, {found[count]['audits']}")
            shutil.rmtree(tree)
            shutil.rmtree(folder / "run")
    return _report(found)


def write_pool(folder: Path) -> list[Path]:
    """Small grey PNG files of different content and size."""
    folder.mkdir()
    rng = np.random.default_rng(7)
    paths = []
    for number in range(_POOL):
        held = io.BytesIO()
        pixels = rng.integers(0, 256, (ccccii_child.SIDE, ccccii_child.SIDE), dtype=np.uint8)
        Image.fromarray(pixels).save(held, "PNG")
        path = folder / f"{number}.png"
        path.write_bytes(held.getvalue() + bytes(number))  # what follows the image is not read
        paths.append(path)
    return paths


def scans(count: int, each: int) -> Iterator[tuple[str, int, int, int]]:
    """Class, patient, scan and number of slices, of so many slices in all."""
    number = 0
    while count > 0:
        size, label = min(each, count), number % 3
        # No number is of patients of two classes: these would be kept together.
        yield _LABELS[label], number // 3 // SCANS_EACH * 3 + label, number, size
        count -= size
        number += 1


def write_tree(root: Path, count: int, pool: list[Path], *, each: int) -> None:
    """CC-CCII's folders and its list of scans, with a missing scan and a wrong count planted."""
    root.mkdir()
    lines = ["zip_file,label,patient_id,scan_id,n_slice"]
    for label, patient, scan, size in scans(count, each):
        folder = root / label / f"{patient:05d}" / str(scan)
        folder.mkdir(parents=True)
        for at in range(size):
            # A step that differs from scan to scan: no two have the same sequence of files.
            source = pool[(scan + at * (1 + scan % 251)) % _POOL]
            os.link(source, folder / f"{at:04d}.png")
        lines.append(f"x.zip,{label},{patient:05d},{scan},{size + (scan == 1)}")
    lines.append("x.zip,NCP,99999,999999,10")
    (root / "unzip_filenames.csv").write_text("\n".join(lines) + "\n")


def _report(found: dict[int, dict[str, Any]]) -> Report:
    first, last = min(found), max(found)
    rows: list[list[str]] = []
    met = True
    for stage in _STAGES:
        seconds = [told["seconds"][stage] for told in found.values()]
        rows.append([f"{stage}: seconds", *(f"{value:.1f}" for value in seconds)])
        each = {count: found[count]["seconds"][stage] / count for count in (first, last)}
        met &= seconds[-1] <= _GOAL_SECONDS and each[last] <= _GOAL_GROWTH * each[first]
        for kind in ("driver", "jvm"):
            values = [told["sampled_mib"].get(stage, {}).get(kind) for told in found.values()]
            cells = ["-" if value is None else f"{value:.0f}" for value in values]
            rows.append([f"{stage}: {kind}, MiB at most", *cells])
    return Report(
        name="ccccii",
        title=f"CC-CCII's layout, {first} and {last} slices, small drawn images",
        head=["slices", *map(str, found)],
        rows=rows,
        notes=[
            goal(
                f"each stage within {_GOAL_SECONDS / 60:g} minutes, and within {_GOAL_GROWTH:g} "
                "times the seconds a slice of the smallest",
                met,
            ),
            "the tree is hard links to 512 files; the images table that is split has ids made "
            "from the paths, and a picture of its own for each slice, drawn at random",
        ],
        figures={"sizes": {str(count): told for count, told in found.items()}},
    )
