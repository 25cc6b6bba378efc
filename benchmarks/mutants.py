"""``python -m benchmarks.mutants [--sample N] [ROOM...]``: which changed lines no test notices.

mutmut changes one expression at a time and runs the tests that reach it. A room's share is of
all its mutants, or of a sample drawn with a fixed seed. mutmut keeps its work in ``mutants/``.

``mutants_equivalent.toml`` names mutants that no test can notice, with the reason. They count as
survivors all the same.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence

import click

from benchmarks.common import ROOT
from pulmospark.core import files
from pulmospark.evaluation.intervals import wilson

ROOMS: Mapping[str, Sequence[str]] = {
    "split": ("data/**/*.py",),
    "intervals": ("evaluation/intervals.py",),
    "calibration": ("evaluation/calibration.py",),
    "dicom_greyscale": (
        "imaging/dicom/codecs.py",
        "imaging/dicom/codestream.py",
        "imaging/dicom/ct_slice.py",
        "imaging/dicom/dicomdir.py",
        "imaging/dicom/elements.py",
        "imaging/dicom/frames.py",
        "imaging/dicom/greyscale.py",
        "imaging/dicom/header.py",
        "imaging/dicom/lookup_tables.py",
        "imaging/dicom/metadata.py",
        "imaging/dicom/number_parsing.py",
        "imaging/dicom/pixel_data.py",
        "imaging/dicom/pixel_format.py",
        "imaging/dicom/pydicom_logging.py",
        "imaging/dicom/transfer_syntax.py",
    ),
    "chunks": ("spark/*.py",),
    "stream_store": ("inference/stream/store.py",),
    "audits": ("audit/*.py",),
}
"""modules of each room, of those that ``only_mutate`` names in pyproject.toml"""
_SEED = 13
_MUTANTS = ROOT / "mutants"
_EQUIVALENT = ROOT / "benchmarks/mutants_equivalent.toml"
_METHOD_MARK = "\u01c1"
"""what mutmut puts between the names of a class and its method"""
_NOT_RUN = None
_SURVIVED = frozenset({0, 33})  # 33: no test reaches it


def mutants_of(room: str) -> dict[str, int | None]:
    """The room's mutants with the exit code of their tests, ``None`` where they were not run."""
    codes: dict[str, int | None] = {}
    for pattern in ROOMS[room]:
        for file in sorted((_MUTANTS / "src/pulmospark").glob(f"{pattern}.meta")):
            codes |= json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"]
    return codes


def run_mutmut(*names: str, processes: int) -> None:
    """Let mutmut run the named mutants, or patterns of names, so many at a time."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names]
    with (ROOT / "build/mutants.log").open("ab") as log:
        subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=False)


def changes_of(names: Sequence[str]) -> dict[str, str]:
    """The lines of each mutant that differ from the module's, joined."""
    diff_of = importlib.import_module("mutmut.mutation.diff_apply").get_diff_for_mutant
    with contextlib.chdir(ROOT):
        diffs = {name: diff_of(name).splitlines() for name in names}
    return {
        name: " ".join(line[1:].strip() for line in lines if line[:1] == "+" and line[:3] != "+++")
        for name, lines in diffs.items()
    }


def reasons_of(changes: Mapping[str, str]) -> dict[str, str]:
    """Why no test can notice a mutant, for those that ``mutants_equivalent.toml`` names."""
    known = tomllib.loads(_EQUIVALENT.read_text(encoding="utf-8"))["mutant"]
    return {
        name: one["reason"]
        for name, change in changes.items()
        for one in known
        if _function_of(name) == one["function"] and one["change"] in change
    }


def _function_of(name: str) -> str:
    """A mutant's function, ``evaluation.intervals.wilson`` say."""
    path = name.rpartition("__mutmut_")[0].removeprefix("pulmospark.")
    module, _, mangled = path.rpartition(".")
    parts = mangled.split(_METHOD_MARK)
    return ".".join([module, *(parts[1:] or [mangled.removeprefix("x_")])])


@click.command()
@click.argument("rooms", nargs=-1, type=click.Choice(tuple(ROOMS)))
@click.option("--sample", type=click.IntRange(1), help="Mutants of each room; all by default.")
@click.option(
    "--max-children",
    type=click.IntRange(1),
    default=lambda: os.cpu_count() or 1,
    show_default="cores",
    help="Mutants that are tried at the same time.",
)
def main(rooms: tuple[str, ...], sample: int | None, max_children: int) -> None:
    """Print the share of mutants killed for each room, and the survivors."""
    shutil.rmtree(_MUTANTS, ignore_errors=True)
    (ROOT / "build").mkdir(exist_ok=True)
    # Writes the mutants, and learns which tests reach them.
    run_mutmut("none.*", processes=max_children)
    results = {}
    for room in rooms or tuple(ROOMS):
        names = sorted(mutants_of(room))
        if sample is not None and sample < len(names):
            names = random.Random(_SEED).sample(names, sample)
        run_mutmut(*names, processes=max_children)
        codes = {name: code for name, code in mutants_of(room).items() if name in set(names)}
        unfinished = [name for name, code in codes.items() if code is _NOT_RUN]
        if unfinished or not codes:
            raise click.ClickException(f"{room}: mutmut did not run; see build/mutants.log")
        survivors = sorted(name for name, code in codes.items() if code in _SURVIVED)
        share = 1 - len(survivors) / len(codes)
        low, high = wilson(share, len(codes), 0.95)
        changes = changes_of(survivors)
        reasons = reasons_of(changes)
        results[room] = {
            "tried": len(codes),
            "killed": share,
            "survivors": {
                name: {"change": change, "equivalent": reasons.get(name)}
                for name, change in changes.items()
            },
        }
        click.echo(
            f"{room:<14} {len(codes):>5} tried, {share:6.1%} killed"
            + ("" if sample is None else f" (95 % CI {low:.1%} to {high:.1%})")
        )
        for name, reason in reasons.items():
            click.echo(f"    {name}: equivalent: {reason}")
    files.write_json(ROOT / "build/mutants.json", results)
    click.echo("survivors: build/mutants.json; mutmut show NAME prints one")


if __name__ == "__main__":
    main()
