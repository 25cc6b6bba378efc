"""Near copies within and between two public sets, beside pairs that were looked at one by one."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from benchmarks.common import MASTER, ROOT, Options, Report, data_folder, goal, say, scratch
from pulmospark.audit.subject import subject_of
from pulmospark.core.settings import AuditSettings, IngestSettings, SourceSettings
from pulmospark.data.ingest import ingest
from pulmospark.data.near_copies import NearCopies, find_near_copies
from pulmospark.spark.session import spark_session

PAIRS = ROOT / "tests" / "audit" / "real_duplicates.csv"
SETS = ("COVID-19_Radiography_Dataset", "covid-chestxray-dataset")
GOAL_PRECISION, GOAL_RECALL = 0.95, 0.9
_HEAD = ("pairs", "found", "copies by hand", "of them found", "precision", "recall")


def measure(options: Options) -> Report:
    """Search both folders; precision and recall on the pairs that were judged.

    A pair counts as found where the search puts both films into one cluster. Pairs that it
    finds and nobody has judged are told: they are in neither figure.
    """
    data = data_folder(options)
    if data is None:
        raise RuntimeError("the public data sets are needed: name their folder with --data")
    settings = AuditSettings()
    with scratch(options) as folder, spark_session(MASTER) as spark:
        sources = [SourceSettings(path=data / name) for name in SETS]
        ingest(sources, IngestSettings(), folder / "tables", spark, quiet=True)
        subject = subject_of(folder / "tables" / "images", None, settings, seed=1)
        say(f"{subject.rows.num_rows} films")
        started = time.perf_counter()
        found = find_near_copies(
            subject.images,
            subject.rows,
            folder / "work",
            spark,
            distance=settings.hash_distance,
            correlation=settings.copy_correlation,
            pairs_max=settings.pairs_max,
            quiet=True,
        )
        seconds = time.perf_counter() - started
    names = [_short(uri, data) for uri in subject.rows["uri"].to_pylist()]
    return _report(_counted(found, names), seconds, len(names), found.compared)


def _short(uri: str, data: Path) -> str:
    return str(Path(uri).relative_to(data.resolve()))


def _counted(found: NearCopies, names: list[str]) -> dict[str, int]:
    number = {name: place for place, name in enumerate(names)}
    with PAIRS.open(encoding="utf-8", newline="") as file:
        judged = {
            (number[row["first"]], number[row["second"]]): row["judged"] == "copy"
            for row in csv.DictReader(file)
        }
    said = {pair: bool(found.clusters[pair[0]] == found.clusters[pair[1]]) for pair in judged}
    pairs = {tuple(sorted(pair)) for pair in judged}
    ours = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    return {
        "judged": len(judged),
        "copies": sum(judged.values()),
        "found": sum(said.values()),
        "right": sum(said[pair] and judged[pair] for pair in judged),
        "not_judged": len(ours - pairs),
    }


def _report(counts: dict[str, int], seconds: float, films: int, compared: int) -> Report:
    precision = counts["right"] / max(counts["found"], 1)
    recall = counts["right"] / max(counts["copies"], 1)
    row = (
        str(counts["judged"]),
        str(counts["found"]),
        str(counts["copies"]),
        str(counts["right"]),
        f"{precision:.3f}",
        f"{recall:.3f}",
    )
    figures: dict[str, Any] = {
        **counts,
        "films": films,
        "compared": compared,
        "seconds": round(seconds, 1),
        "precision": precision,
        "recall": recall,
    }
    return Report(
        name="real_duplicates",
        title="Near copies in two public sets, against pairs judged by hand",
        head=_HEAD,
        rows=[row],
        notes=[
            f"{films} films, {compared} pairs laid over each other, {seconds:.0f} s",
            f"{counts['not_judged']} pairs found that nobody has judged",
            goal(f"precision {GOAL_PRECISION}", precision >= GOAL_PRECISION),
            goal(f"recall {GOAL_RECALL}", recall >= GOAL_RECALL),
        ],
        figures=figures,
    )
