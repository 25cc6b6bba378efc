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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import Options, Report, python, say, scratch

SOURCES = sorted(
    f"benchmarks.{path.stem}" for path in Path(__file__).parent.glob("image_memory_*.py")
)
"""modules with a function ``cases(side)`` that gives the cases of an image of so many pixels a
side"""
SIDE, SIDE_SMALL = 10_000, 1_000
PEAK_MIB = 1024
"""what one image may take"""
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from pulmospark.core.settings import IngestSettings
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.film import read_films

def peak(process):
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

base = peak("self")
began = time.process_time()
found = read_films(sys.argv[1], IngestSettings())
answer = {"base_mib": base / 1024, "peak_mib": peak("self") / 1024}
answer["cpu_s"] = time.process_time() - began
if isinstance(found, Rejected):
    answer |= {"outcome": found.reason.value, "detail": found.detail}
else:
    mean = float(sum(film.pixels.mean() for film in found) / len(found))
    answer |= {"outcome": f"{len(found)} read", "detail": f"mean {mean:.1f}"}
from pulmospark.imaging import apart
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
    """Read each case's file alone."""
    side = SIDE_SMALL if options.small else SIDE
    rows, figures = [], []
    with scratch(options) as folder:
        for source in SOURCES:
            for case in importlib.import_module(source).cases(side):
                path = folder / "image"
                if not write_apart(source, case.name, path, side):
                    rows.append([case.name, "-", "not written", "-", "-", "-"])
                    continue
                size = path.stat().st_size
                found = read_alone(path)
                path.unlink()
                say(f"  {case.name}: {found.outcome}, {found.peak_mib:.0f} MiB")
                figures.append({"case": case.name, "bytes": size, **vars(found)})
                rows.append([
                    case.name, f"{size / 2**20:.1f}", found.outcome, f"{found.peak_mib:.0f}",
                    f"{found.child_mib:.0f}" if found.child_mib else "-", f"{found.cpu_s:.1f}",
                ])  # fmt: skip
    return Report(
        name="image_memory",
        title=f"Peak memory of one image of {side} x {side} pixels, read alone",
        head=["case", "file, MiB", "outcome", "peak, MiB", "decoder's process, MiB", "core, s"],
        rows=rows,
        notes=[f"at most {PEAK_MIB} MiB, or a reject that names its limit"],
        figures={"cases": figures},
    )
