"""A table of how unlike all others each film is, by the features of a model, made on Spark."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from pulmospark.audit.distances import (
    MEASURED,
    REFERENCE,
    DistanceWork,
    distances,
    fence,
    unit,
)
from pulmospark.audit.model import check_size, sample_of
from pulmospark.audit.results import FilmDistances
from pulmospark.audit.subject import Subject
from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.models.bundle import read_bundle
from pulmospark.spark import chunks
from pulmospark.training.by_features import extract_features

TABLE = "distances"
"""folder of the table, within that of the audit"""


def measure_films(
    subject: Subject,
    bundle: Path,
    work: Path,
    spark: SparkSession,
    *,
    features: Path | None = None,
    quiet: bool = False,
) -> tuple[FilmDistances, list[Path]]:
    """How far each audited film lies from a sample of all, by the features of a model.

    The sample and the fence are those of the audit ``unlike_films``. Features are extracted on
    the executors as for a training, and each chunk of them is measured there; the driver holds
    the sample's features and 100 bytes a film.

    Args:
        subject: what is audited.
        bundle: folder of the model.
        work: folder for what is measured; what is there is kept.
        spark: the session.
        features: folder for engines and features; a training's own, say, where they may be
            already. ``None``: ``work``.
        quiet: show no progress.

    Returns:
        What is said of the table, and its parts, of ``core.tables.DISTANCES``.

    Raises:
        BundleError: the bundle cannot be used.
        InputError: its images have another size than the table's, or the table lacks films.
    """
    model = read_bundle(bundle)
    size = model.config.input_size
    check_size(subject, size)
    extracted = extract_features(
        subject.images, model.network(), size, features or work, spark=spark, quiet=quiet
    )
    paths = [part.path for part in extracted]
    rows = sample_of(subject)
    plan = _plan(subject, rows, _reference(subject, rows, paths), work)
    todo = chunks.chunks_of(paths)
    with Progress("distances", sum(one.rows for one in todo), "films", quiet=quiet) as progress:
        parts = chunks.run_chunks(spark, plan, todo, work / TABLE, progress)
    if (found := sum(part.rows for part in parts)) != subject.rows.num_rows:
        raise InputError(
            f"{subject.images}: has {found} of the {subject.rows.num_rows} films of the cohort: "
            "run split again"
        )
    told = FilmDistances(
        table=TABLE,
        films=found,
        unlike=sum(_unlike(part.path) for part in parts),
        fence=plan.fence,
        reference=int(rows.size),
    )
    return told, [part.path for part in parts]


def _reference(
    subject: Subject, rows: npt.NDArray[np.int64], parts: Sequence[Path]
) -> npt.NDArray[np.float32]:
    """Features at length 1 of some of the films, (rows, width)."""
    place = {uri: n for n, uri in enumerate(subject.column("uri")[rows].tolist())}
    found: dict[int, npt.NDArray[np.float32]] = {}
    for part in parts:
        told = pq.read_table(part, columns=["uri", "features"])
        mine = told.filter(pa.array([uri in place for uri in told["uri"].to_pylist()]))
        for uri, values in zip(mine["uri"].to_pylist(), mine["features"], strict=True):
            found[place[uri]] = values.values.to_numpy()
    if len(found) < len(place) or not place:
        raise InputError(
            f"{subject.images}: has {len(found)} of the {len(place)} films that others are "
            "measured by: they need a finding, and the cohort's films must be there (run split "
            "again)"
        )
    return unit(np.stack([found[n] for n in range(len(place))])).astype(np.float32)


def _plan(
    subject: Subject,
    rows: npt.NDArray[np.int64],
    reference: npt.NDArray[np.float32],
    work: Path,
) -> DistanceWork:
    """What executors do; puts where they find it what films are measured by, and which."""
    groups = subject.groups.astype(np.int32)
    digest = hashlib.sha256(reference.tobytes())
    digest.update(groups[rows].tobytes() + groups.tobytes())
    digest.update("\n".join(subject.rows["uri"].to_pylist()).encode())
    told_id = digest.hexdigest()
    place = work.resolve() / "measured"
    others, films = place / f"reference-{told_id}.parquet", place / f"films-{told_id}.parquet"
    listed = pa.array(list(reference), pa.list_(pa.float32()))
    measured = [subject.rows["uri"], pa.array(groups)]
    with files.disk_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        chunks.write_part(pa.table([pa.array(groups[rows]), listed], schema=REFERENCE), others)
        chunks.write_part(pa.table(measured, schema=MEASURED), films)
    limit = fence(distances(reference, reference, groups[rows]))
    return DistanceWork(str(others), str(films), told_id, limit)


def _unlike(part: Path) -> int:
    return int(pc.sum(pq.read_table(part, columns=["unlike"])["unlike"]).as_py() or 0)
