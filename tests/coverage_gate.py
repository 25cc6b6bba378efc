"""``python tests/coverage_gate.py FILE FLOOR``: what tests cover, and whether it is enough.

Reads SlipCover's JSON, prints lines and branches of each package, and ends with 1 below the
floor. SlipCover takes its probes out once they have fired: with branches it costs a quarter of
the tests' time where coverage.py's tracer, the only one that Python 3.11 has, takes as much
again as the tests themselves.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

_ROOT = ("src", "pulmospark")
_KINDS = ("covered_lines", "missing_lines", "covered_branches", "missing_branches")


def by_package(files: dict[str, dict[str, dict[str, int]]]) -> dict[str, Counter[str]]:
    """Lines and branches of each package, added up over its files."""
    packages: dict[str, Counter[str]] = {}
    for name, file in files.items():
        parts = Path(name).parts
        below = parts[parts.index(_ROOT[1]) + 1 :]
        package = below[0] if len(below) > 1 else "pulmospark"
        counts = packages.setdefault(package, Counter())
        counts.update({kind: file["summary"][kind] for kind in _KINDS})
    return packages


def percent(counts: Counter[str]) -> float:
    """Covered lines and branches among all, per cent."""
    covered = counts["covered_lines"] + counts["covered_branches"]
    every = covered + counts["missing_lines"] + counts["missing_branches"]
    return 100.0 * covered / every if every else 100.0


def main(file: str, floor: float) -> int:
    """Print the table; 1 where all packages together are below the floor, per cent."""
    packages = by_package(json.loads(Path(file).read_text(encoding="utf-8"))["files"])
    print(f"{'package':<12} {'lines':>13} {'branches':>13} {'covered':>8}")
    for name, counts in [*sorted(packages.items()), ("all", sum(packages.values(), Counter()))]:
        lines = f"{counts['covered_lines']}/{counts['covered_lines'] + counts['missing_lines']}"
        ways = counts["covered_branches"], counts["missing_branches"]
        print(
            f"{name:<12} {lines:>13} {ways[0]}/{sum(ways)}".ljust(41) + f"{percent(counts):7.1f}%"
        )
    share = percent(sum(packages.values(), Counter()))
    if share < floor:
        print(f"tests cover {share:.1f} % of lines and branches, below the floor of {floor:g} %")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
