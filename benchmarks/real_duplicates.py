"""Near copies within and between public sets, beside pairs that were looked at one by one.

There are two lists. The settings of the search were tuned on the first, so what it reaches there
is no proof. The second was judged later, and no setting was chosen on it.
"""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from benchmarks.common import MASTER, ROOT, Options, Report, data_folder, goal, say, scratch
from pulmospark.audit.subject import Subject, subject_of
from pulmospark.config.audit import AuditSettings
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.data.duplicates.near_duplicates import NearCopies, find_near_copies
from pulmospark.data.ingest.ingest import ingest
from pulmospark.evaluation.intervals import wilson
from pulmospark.spark.executor import SparkExecutor
from pulmospark.spark.session import spark_session

LISTS = ROOT / "tests" / "audit"
TUNED, FRESH = "real_duplicates.csv", "real_duplicates_fresh.csv"
TUNED_SETS = ("COVID-19_Radiography_Dataset", "covid-chestxray-dataset")
FRESH_SETS = (*TUNED_SETS, "chest_xray")
GOAL_PRECISION, GOAL_RECALL = 0.95, 0.9
_CONFIDENCE = 0.95
_HEAD = ("list", "pairs", "found", "copies by hand", "of them found", "precision", "recall")
_Bools = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A share of pairs with its 95 % interval; ``None`` where it is taken of no pair."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Judged:
    """Pairs of one list, and what the search said of them.

    Attributes:
        found: (n,) whether the search put both images into one cluster.
        copy: (n,) whether they are copies, by hand.
        weight: (n,) how many pairs each stands for; 1 in a list that is no sample.
        tuned_sets: (n,) whether both images are of the sets that the tuned list is of.
        unsure: pairs where the eye could not tell: in none of the arrays.
        not_judged: pairs that the search found and that are in neither list.
        images: that were searched.
        compared: pairs that were laid over each other.
        distance: bits up to which hashes were compared.
        seconds: of the search.
    """

    found: _Bools
    copy: _Bools
    weight: _Floats
    tuned_sets: _Bools
    unsure: int
    not_judged: int
    images: int
    compared: int
    distance: int
    seconds: float


def measure(options: Options) -> Report:
    """Search the folders; precision and recall on the pairs of both lists.

    A pair counts as found where the search puts both images into one cluster. The tuned list is
    searched in its two sets, the fresh one in three.
    """
    data = data_folder(options)
    if data is None:
        raise RuntimeError("the public data sets are needed: name their folder with --data")
    data = data.resolve()
    with scratch(options) as folder, spark_session(MASTER) as spark:
        sources = [SourceSettings(path=data / name) for name in FRESH_SETS]
        ingest(sources, IngestSettings(), folder / "tables", spark, quiet=True)
        subject = subject_of(folder / "tables" / "images", None, AuditSettings(), seed=1)
        told = {
            name: _judged(name, sets, subject, data, work=folder / name, spark=spark)
            for name, sets in ((TUNED, TUNED_SETS), (FRESH, FRESH_SETS))
        }
    return report_of(told)


def _judged(
    name: str,
    sets: tuple[str, ...],
    subject: Subject,
    data: Path,
    *,
    work: Path,
    spark: SparkSession,
) -> Judged:
    rows = _of_sets(subject.rows, data, sets)
    settings = subject.settings
    say(f"{name}: {rows.num_rows} images")
    started = time.perf_counter()
    found = find_near_copies(
        subject.images,
        rows,
        work,
        SparkExecutor(spark),
        distance=settings.hash_distance,
        correlation=settings.copy_correlation,
        pairs_max=settings.pairs_max,
        quiet=True,
    )
    seconds = time.perf_counter() - started
    names = [str(Path(uri).relative_to(data)) for uri in rows["uri"].to_pylist()]
    return _compared(name, found, names, seconds)


def _of_sets(rows: pa.Table, data: Path, sets: tuple[str, ...]) -> pa.Table:
    inside = [pc.starts_with(rows["uri"], pattern=f"{data / name}/") for name in sets]
    kept = inside[0]
    for other in inside[1:]:
        kept = pc.or_(kept, other)
    return rows.filter(kept)


def _compared(name: str, found: NearCopies, names: list[str], seconds: float) -> Judged:
    pairs = read_list(name)
    sure = [pair for pair in pairs if pair["judged"] != "unsure"]
    number = {name: place for place, name in enumerate(names)}
    first = [number[pair["first"]] for pair in sure]
    second = [number[pair["second"]] for pair in sure]
    known = {
        frozenset((pair["first"], pair["second"]))
        for each in (TUNED, FRESH)
        for pair in read_list(each)
    }
    ours = zip(found.first.tolist(), found.second.tolist(), strict=True)
    return Judged(
        found=np.asarray(found.clusters[first] == found.clusters[second]),
        copy=np.asarray([pair["judged"] == "copy" for pair in sure]),
        weight=np.asarray([float(pair.get("weight", 1)) for pair in sure]),
        tuned_sets=np.asarray(
            [
                {pair[key].split("/")[0] for key in ("first", "second")} <= {*TUNED_SETS}
                for pair in sure
            ]
        ),
        unsure=len(pairs) - len(sure),
        not_judged=sum(frozenset((names[a], names[b])) not in known for a, b in ours),
        images=len(names),
        compared=found.compared,
        distance=found.distance,
        seconds=round(seconds, 1),
    )


def read_list(name: str) -> list[dict[str, str]]:
    """Rows of a list."""
    with (LISTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def share(hit: _Bools, among: _Bools, weight: _Floats) -> Share:
    """A weighted share with Wilson's interval on the pairs that the weighted ones are worth.

    That number is (sum of weights)^2 / sum of squares (Kish 1965): the number of pairs where all
    weigh the same, and fewer where a few pairs stand for most.
    """
    taken = weight[among]
    if taken.size == 0:
        return Share(None)
    value = float(weight[among & hit].sum() / taken.sum())
    worth = float(taken.sum() ** 2 / (taken @ taken))
    return Share(value, *wilson(min(value, 1.0), worth, _CONFIDENCE))


def report_of(told: dict[str, Judged]) -> Report:
    """The table of both lists; of the fresh one also by sets, and weighted."""
    rows, notes, figures = [], [], {}
    for name, one in told.items():
        all_pairs = np.ones(one.copy.size, np.bool_)
        views = {"all": all_pairs}
        if name == FRESH:
            views |= {"of the tuned sets": one.tuned_sets, "with others": ~one.tuned_sets}
        counted = {view: _counted(one, taken) for view, taken in views.items()}
        for view, figure in counted.items():
            spoken = _spoken(name) if view == "all" else f"{_spoken(name)}, {view}"
            shares = (str(_share(figure, "precision")), str(_share(figure, "recall")))
            rows.append((spoken, *(str(figure[key]) for key in _COUNTS), *shares))
        weighted = [
            share(one.copy, one.found, one.weight),
            share(one.found, one.copy, one.weight),
        ]
        if name == FRESH:
            rows.append((f"{_spoken(name)}, weighted", *[""] * 4, *map(str, weighted)))
        notes += _notes(name, one, counted["all"])
        figures[name] = {
            **counted["all"],
            "views": counted,
            "weighted_precision": asdict(weighted[0]),
            "weighted_recall": asdict(weighted[1]),
            "unsure": one.unsure,
            "not_judged": one.not_judged,
            "images": one.images,
            "compared": one.compared,
            "distance": one.distance,
            "seconds": one.seconds,
        }
    notes.append("intervals: Wilson, 95 %")
    notes.append("the fresh list is a sample by strata: weighted, a pair stands for its stratum")
    return Report(
        name="real_duplicates",
        title="Near copies in public sets, against pairs judged by hand",
        head=_HEAD,
        rows=rows,
        notes=notes,
        figures=figures,
    )


_COUNTS = ("judged", "found", "copies", "right")


def _counted(one: Judged, taken: _Bools) -> dict[str, Any]:
    found, copy = one.found & taken, one.copy & taken
    plain = np.ones(taken.size)
    return {
        "judged": int(taken.sum()),
        "found": int(found.sum()),
        "copies": int(copy.sum()),
        "right": int((found & copy).sum()),
        "precision": asdict(share(one.copy, found, plain)),
        "recall": asdict(share(one.found, copy, plain)),
    }


def _share(figure: dict[str, Any], key: str) -> Share:
    return Share(**figure[key])


def _spoken(name: str) -> str:
    return "tuned on" if name == TUNED else "fresh"


def _notes(name: str, one: Judged, figure: dict[str, Any]) -> list[str]:
    spoken = _spoken(name)
    precision, recall = (_share(figure, key).value or 0.0 for key in ("precision", "recall"))
    return [
        f"{spoken} ({name}): {one.images} images, {one.compared} pairs with hashes within "
        f"{one.distance} bits laid over each other, {one.seconds:.0f} s",
        f"{spoken}: {one.not_judged} pairs found that nobody has judged, {one.unsure} unsure",
        goal(f"precision {GOAL_PRECISION}, {spoken}", precision >= GOAL_PRECISION),
        goal(f"recall {GOAL_RECALL}, {spoken}", recall >= GOAL_RECALL),
    ]
