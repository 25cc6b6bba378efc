"""Copies of training images in an external set: a model may have memorised them.

A bundle carries neither images nor their hashes: with the hashes anyone who holds an image of a
person could find out whether that person was in the training set. So the search needs the run
that made the bundle, in the folder around it; a bundle alone is not assessable.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict

from pulmospark.audit.duplicate_pairs import as_csv
from pulmospark.chunks.parts import parts_of
from pulmospark.config.audit import AuditSettings
from pulmospark.config.experiment import Experiment
from pulmospark.core import files, limits
from pulmospark.core.arrays import Hashes, Ints, Pixels
from pulmospark.core.records import Record
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.data.cohort.table import read_cohort
from pulmospark.data.duplicates.alignment import overlay_correlation
from pulmospark.data.duplicates.fingerprints import SMALL_SIDE
from pulmospark.data.ingest.pixels import pixels_of_some
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.imaging.standardise import resized
from pulmospark.models.bundle.bundle import Bundle

PARQUET, CSV = "training_copies.parquet", "training_copies.csv"
_ROWS_AT_ONCE = 512
_FACTS = ["uri", "image_id", "source", "phash"]


class TrainingCopies(Record):
    """Images of an external set that are copies of training images."""

    model_config = ConfigDict(frozen=True)

    assessable: bool
    why: str = ""
    """why the search was not made or is incomplete; empty if it is complete"""
    training: int = 0
    """training images that were compared"""
    exact: int = 0
    """images whose file is identical to that of a training image"""
    near: int = 0
    """further images that show the same picture as a training image"""

    @property
    def copies(self) -> int:
        """Images that are copies, exact or near."""
        return self.exact + self.near


def find_training_copies(bundle: Bundle, external: pa.Table, images: Path) -> tuple[
    TrainingCopies, pa.Table
]:  # fmt: skip
    """Search the images of a set for copies of those that a model was trained on.

    Exact copies have the same SHA-256; near copies have perceptual hashes within the run's
    ``audit.hash_distance`` and match pixel by pixel with its ``audit.copy_correlation``.

    Args:
        bundle: the model; its run is the folder around it.
        external: ``uri``, ``image_id``, ``source`` and ``phash`` of the evaluated images.
        images: the images table that they are in.

    Returns:
        The counts, and the pairs: ``uri``, ``image_id``, ``source``, ``training_uri``,
        ``training_image_id``, ``training_source``, ``kind`` and ``correlation``.
    """
    run = RunFolder(bundle.folder.resolve().parent)
    if (why := _no_run(bundle, run)) is not None:
        return TrainingCopies(assessable=False, why=why), _pairs([])
    training = _training_images(run)
    settings = _settings(run)
    exact = _exact(external, training)
    left = _without(external, exact)
    near, within = _near(left, training, images, run, settings)
    pairs = _pairs([*exact, *near])
    copies = TrainingCopies(
        assessable=True,
        why=""
        if within == settings.hash_distance
        else f"only hashes within {within} bits were compared, not {settings.hash_distance}",
        training=training.num_rows,
        exact=len({pair["uri"] for pair in exact}),
        near=len({pair["uri"] for pair in near}),
    )
    return copies, pairs


def write_training_copies(pairs: pa.Table, folder: Path) -> None:
    """Write the pairs, as Parquet and CSV.

    Raises:
        PlatformError: no space, or no permission to write there.
    """
    with files.disk_errors(folder):
        pq.write_table(pairs, folder / PARQUET)
    files.write_text(folder / CSV, as_csv(pairs))


def _no_run(bundle: Bundle, run: RunFolder) -> str | None:
    if not parts_of(run.tables / "images") or not (run.cohort / "split.json").is_file():
        return (
            f"the run that made the bundle is not around it ({run.root}), and a bundle contains "
            "no training image"
        )
    if read_split(run.cohort).cohort_id != bundle.config.data.get("cohort_id"):
        return f"the bundle was trained on another split than that in {run.cohort}"
    return None


def _settings(run: RunFolder) -> AuditSettings:
    if not run.settings.is_file():
        return AuditSettings()
    return Experiment.model_validate(files.read_json(run.settings)).audit


def _training_images(run: RunFolder) -> pa.Table:
    """Facts of the images that the final model was trained on: with folds, all."""
    rows = read_cohort(run.cohort, ["uri", "split", "fold"])
    folds = rows["fold"].null_count < rows.num_rows
    learned = [
        uri
        for uri, split in zip(rows["uri"].to_pylist(), rows["split"].to_pylist(), strict=True)
        if folds or split in {Split.TRAIN.value, Split.VALIDATION.value}
    ]
    facts = pa.concat_tables(
        [pq.read_table(part, columns=_FACTS) for part in parts_of(run.tables / "images")]
    )
    wanted = set(learned)
    return facts.filter(pa.array([uri in wanted for uri in facts["uri"].to_pylist()], pa.bool_()))


def _exact(external: pa.Table, training: pa.Table) -> list[dict[str, object]]:
    by_id = {row["image_id"]: row for row in training.select(_FACTS).to_pylist()}
    return [
        _pair(row, by_id[row["image_id"]], "exact", 1.0)
        for row in external.to_pylist()
        if row["image_id"] in by_id
    ]


def _without(external: pa.Table, exact: list[dict[str, object]]) -> pa.Table:
    gone = {pair["uri"] for pair in exact}
    kept = [uri not in gone for uri in external["uri"].to_pylist()]
    return external.filter(pa.array(kept, pa.bool_()))


def _near(
    external: pa.Table, training: pa.Table, images: Path, run: RunFolder, settings: AuditSettings
) -> tuple[list[dict[str, object]], int]:
    """Pairs that show one picture, and the distance in bits up to which hashes were compared."""
    first, second, bits = _candidates(external, training, settings.hash_distance)
    within = settings.hash_distance
    if first.size > limits.EXTERNAL_PAIRS_MAX:
        so_far = np.cumsum(np.bincount(bits, minlength=within + 1))
        fitting = np.flatnonzero(so_far <= limits.EXTERNAL_PAIRS_MAX)
        within = int(fitting[-1]) if fitting.size else -1
        first, second = first[bits <= within], second[bits <= within]
    ours, theirs = external.to_pylist(), training.to_pylist()
    here = _small(images, {ours[n]["uri"] for n in first})
    there = _small(run.tables / "images", {theirs[n]["uri"] for n in second})
    pairs = []
    for row_at, learned_at in zip(first.tolist(), second.tolist(), strict=True):
        row, learned = ours[row_at], theirs[learned_at]
        fit = overlay_correlation(here[row["uri"]], there[learned["uri"]])
        if fit >= settings.copy_correlation:
            pairs.append(_pair(row, learned, "near", fit))
    return pairs, within


def _candidates(external: pa.Table, training: pa.Table, distance: int) -> tuple[Ints, Ints, Ints]:
    """Pairs of rows whose 64-bit hashes differ in at most ``distance`` bits, and in how many."""
    theirs = training["phash"].to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    blocks: list[tuple[Ints, ...]] = []
    for start, ours in _blocks(external):
        apart = np.bitwise_count(ours[:, None] ^ theirs[None, :])
        rows, columns = np.nonzero(apart <= distance)
        blocks.append((rows + start, columns, apart[rows, columns].astype(np.int64)))
    if not blocks:
        empty = np.empty(0, np.int64)
        return empty, empty, empty
    first, second, bits = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return first, second, bits


def _blocks(external: pa.Table) -> Iterator[tuple[int, Hashes]]:
    hashes = external["phash"].to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    for start in range(0, hashes.size, _ROWS_AT_ONCE):
        yield start, hashes[start : start + _ROWS_AT_ONCE]


def _small(images: Path, uris: set[str]) -> dict[str, Pixels]:
    return {
        uri: resized(pixels, SMALL_SIDE, SMALL_SIDE)
        for uri, pixels in pixels_of_some(images, uris)
    }


def _pair(
    row: dict[str, object], learned: dict[str, object], kind: str, correlation: float
) -> dict[str, object]:
    return {
        **{name: row[name] for name in ("uri", "image_id", "source")},
        **{f"training_{name}": learned[name] for name in ("uri", "image_id", "source")},
        "kind": kind,
        "correlation": correlation,
    }


def _pairs(rows: list[dict[str, object]]) -> pa.Table:
    names = ("uri", "image_id", "source")
    text = [(name, pa.string()) for name in (*names, *(f"training_{name}" for name in names))]
    schema = pa.schema([*text, ("kind", pa.string()), ("correlation", pa.float64())])
    return pa.Table.from_pylist(rows, schema=schema)
