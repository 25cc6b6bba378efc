"""Peak memory and time of one image of 100 megapixels, in each format and transfer syntax.

Each file is read in a process of its own, as ``ingest`` reads it. Its peak is the kernel's mark of
that process (``VmHWM``; ``ru_maxrss`` begins with the size of the process which forked it). The
process that decodes what may be slow is counted on its own.
To add a format, add a module ``image_memory_*.py``, see :data:`SOURCES`.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.common import Options, Report, goal, python, say, scratch
from benchmarks.control_group import run_in_group
from benchmarks.pictures import pictures, write_images
from pulmospark.data.ingest.rows import file_of

SOURCES = sorted(
    f"benchmarks.{path.stem}" for path in Path(__file__).parent.glob("image_memory_*.py")
)
"""modules with a function ``cases(side)`` that gives the cases of an image of so many pixels a
side"""
SIDE, SIDE_SMALL = 10_000, 1_000
GOOD = 1000
GROUP_BYTES = 3 << 30
"""memory of the control group in which two workers read the same files among good ones"""
PEAK_MIB = 1024
"""what one image may take"""
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from pulmospark.config.ingest import IngestSettings
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import read_images

def peak(process):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

base = peak("self")
began = time.process_time()
found = read_images(sys.argv[1], IngestSettings())
answer = {"base_mib": base / 1024, "peak_mib": peak("self") / 1024}
answer["cpu_s"] = time.process_time() - began
if isinstance(found, Rejected):
    answer |= {"outcome": found.reason.value, "detail": found.detail}
else:
    mean = float(sum(image.pixels.mean() for image in found) / len(found))
    answer |= {"outcome": f"{len(found)} read", "detail": f"mean {mean:.1f}"}
from pulmospark.imaging import decode_subprocess as apart
if apart._child.cache_info().currsize:
    import os
    child = apart._child(os.getpid()).process
    if child.poll() is None:
        answer["child_mib"] = peak(child.pid) / 1024
    child.stdin.close()
    child.wait()
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer["cpu_s"] += of_children.ru_utime + of_children.ru_stime
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Case:
    """One file."""

    name: str
    write: Callable[[Path], None]
    """makes the file"""


@dataclass(frozen=True)
class Outcome:
    """What reading it took."""

    outcome: str
    """how many images were read, or the reason of the reject"""
    detail: str
    peak_mib: float
    """of the process, from its start"""
    base_mib: float
    """of the process before it read"""
    cpu_s: float
    child_mib: float = 0.0
    """of the process that decodes what may be slow"""

    @property
    def is_bounded(self) -> bool:
        """Whether it stayed within :data:`PEAK_MIB`."""
        return max(self.peak_mib, self.child_mib) <= PEAK_MIB


def read_alone(path: Path) -> Outcome:
    """Read a file in a process of its own.

    Raises:
        RuntimeError: the process ended without an answer.
    """
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{path.name}: exit {done.returncode}: {done.stderr[-300:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Outcome(**answer)


def all_cases(side: int) -> Iterator[Case]:
    """Cases of all :data:`SOURCES`, of images of ``side`` x ``side`` pixels."""
    for name in SOURCES:
        yield from importlib.import_module(name).cases(side)


def write_apart(module: str, name: str, path: Path, side: int) -> bool:
    """Make a case's file in a process of its own, whose memory goes back at its end."""
    program = (
        "import sys, pathlib, importlib; "
        "source, name, path, side = sys.argv[1:]; "
        "case = next(c for c in importlib.import_module(source).cases(int(side)) "
        "if c.name == name); case.write(pathlib.Path(path))"
    )
    return not subprocess.call([*python("-c", program), module, name, str(path), str(side)])


def measure(options: Options) -> Report:
    """Read each case's file alone, and all of them among good ones within a control group."""
    side = SIDE_SMALL if options.small else SIDE
    rows: list[list[str]] = []
    figures: list[dict[str, Any]] = []
    alone: dict[str, Outcome] = {}
    with scratch(options) as folder:
        huge = folder / "images" / "huge"
        huge.mkdir(parents=True)
        for source in SOURCES:
            for case in importlib.import_module(source).cases(side):
                path = huge / f"{len(rows):03d}{_ending(case)}"
                if not write_apart(source, case.name, path, side):
                    rows.append([case.name, "-", "not written", "-", "-", "-"])
                    continue
                size = path.stat().st_size
                outcome = alone[path.name] = read_alone(path)
                say(f"  {case.name}: {outcome.outcome}, {outcome.peak_mib:.0f} MiB")
                figures.append({"case": case.name, "bytes": size, **vars(outcome)})
                rows.append([
                    case.name, f"{size / 2**20:.1f}", outcome.outcome, f"{outcome.peak_mib:.0f}",
                    f"{outcome.child_mib:.0f}" if outcome.child_mib else "-",
                    f"{outcome.cpu_s:.1f}",
                ])  # fmt: skip
        crowd = ingest_crowd(folder, alone, good=50 if options.small else GOOD)
    notes = [
        goal(f"each at most {PEAK_MIB} MiB", all(one.is_bounded for one in alone.values())),
        *crowd.pop("notes"),
    ]
    return Report(
        name="image_memory",
        title=f"Peak memory of one image of {side} x {side} pixels, read alone",
        head=["case", "file, MiB", "outcome", "peak, MiB", "decoder's process, MiB", "core, s"],
        rows=rows,
        notes=notes,
        figures={"cases": figures, "crowd": crowd},
    )


def _ending(case: Case) -> str:
    kind = case.name.split()[0].lower()
    return ".dcm" if kind == "dicom" else f".{kind}"


def ingest_crowd(folder: Path, alone: Mapping[str, Outcome], *, good: int) -> dict[str, Any]:
    """Ingest ``folder/images`` with ``good`` small images added, within :data:`GROUP_BYTES`.

    Args:
        folder: holds ``images/huge``.
        alone: what became of each file of it, read alone.
        good: number of images of ordinary size.
    """
    write_images(folder / "images", good, pictures(None))
    out = folder / "out"
    command = python(
        "-m", "pulmospark", "ingest", str(folder / "images"), "--layout", "class_folders",
        "--out", str(out), "--set", "ingest.body_parts=any",
    )  # fmt: skip
    began = time.monotonic()
    try:
        done, peak = run_in_group(command, GROUP_BYTES)
    except OSError as error:
        return {"notes": [f"not run among good images: no control group: {error}"]}
    seconds = time.monotonic() - began
    if done.returncode:
        return {
            "exit": done.returncode,
            "stderr": done.stderr[-2000:],
            "notes": [goal(f"among {good} good images: {done.stderr[-300:]}", met=False)],
        }
    tables = out / "tables"
    uris = pq.read_table(tables / "images", columns=["uri"])["uri"].to_pylist()
    images = {Path(file_of(uri)) for uri in uris}  # a file of many frames has many rows
    rejects = pq.read_table(tables / "rejects").to_pylist()
    read = {path.name for path in images if path.parent.name == "huge"}
    refused = {Path(row["uri"]).name: row["reason"] for row in rejects}
    changed = {
        name: refused.get(name, "read" if name in read else "no row")
        for name, outcome in alone.items()
        if (name in read) != outcome.outcome.endswith(" read")
    }
    good_read = sum(path.parent.name != "huge" for path in images)
    return {
        "good": good_read,
        "read": len(read),
        "rejects": refused,
        "changed": changed,
        "peak_bytes": peak,
        "seconds": seconds,
        "notes": [
            goal(
                f"ingest of {good} good images and {len(alone)} huge ones, two workers in "
                f"{GROUP_BYTES / 2**30:.0f} GiB: {good_read} good and {len(read)} huge ones read, "
                f"{len(refused)} named rejects; exit 0; {seconds:.0f} s",
                good_read == good and len(read | set(refused)) == len(alone),
            ),
            f"huge ones with another outcome than alone: {len(changed)} {changed or ''}".rstrip(),
        ],
    }
