"""A model under audit: its predictions and features for a sample of images, whole and covered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pulmospark import chunks
from pulmospark.audit.occlusion import CoverWork, lung_region, lungs_of
from pulmospark.audit.subject import Subject
from pulmospark.chunks.parquet_files import open_parquet, open_whole, place_of
from pulmospark.core import files, hashing, limits
from pulmospark.core.arrays import Floats, Ints, Mask, Pixels
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.data.ingest.pixels import pixels_of_some
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.softmax import softmax
from pulmospark.models.bundle.bundle import Bundle, read_bundle


@dataclass(frozen=True)
class Scored:
    """Predictions and features of a model for a sample of images.

    Attributes:
        bundle: the model.
        rows: int64 (n,), the images' places in the subject's rows, rising.
        probabilities: cover ("whole", "without lungs", ...) -> (n, classes).
        features: float64 (n, width), of the whole images.
        unseen: bool (n,), images that the model was not trained on.
        covered: cover -> features (n, width) under it; empty if not stored.
        region: bool (size, size), the lung region.
    """

    bundle: Bundle
    rows: Ints
    probabilities: dict[str, Floats]
    features: Floats
    unseen: Mask
    region: Mask
    covered: dict[str, Floats] = field(default_factory=dict)


def score_sample(
    subject: Subject, folder: Path, work: Path, executor: chunks.Executor, *, quiet: bool
) -> Scored:
    """Run a bundle on a sample of a subject's images, whole and covered.

    Tested images come first, then others, in the order of a hash of seed and id, up to
    ``limits.AUDIT_IMAGES_MAX``.

    Args:
        subject: what is audited.
        folder: of the bundle.
        work: folder for the results; existing parts are reused.
        executor: runs the tasks.
        quiet: show no progress.

    Raises:
        BundleError: the bundle cannot be used.
        InputError: its images have another size than the table's.
    """
    bundle = read_bundle(folder)
    size = bundle.config.input_size
    check_size(subject, size)
    rows = sample_of(subject)
    uris = [subject.rows["uri"][int(row)].as_py() for row in rows]
    region = _region(subject, rows)
    request = {"images": uris, "region": region.astype(int).tolist()}
    wanted = work / "sample.json"
    files.write_json(wanted, request)
    engine = prepare_engine(bundle.network(), work / "engines", outputs="both", size=size)
    cover = CoverWork(engine, size, str(wanted), hashing.value_id(request))
    todo = _with_images(chunks.chunks_of(chunks.parts_of(subject.images)), set(uris))
    with Progress(
        "score masked images", sum(c.rows for c in todo), "images", quiet=quiet
    ) as progress:
        parts = chunks.run_chunks(executor, cover, todo, work / "covered", progress)
    return _gather(subject, bundle, rows, region, parts)


def some_images(subject: Subject, rows: Ints, most: int) -> tuple[Ints, Pixels]:
    """Evenly spaced images: places in the subject's rows, (m,), and (m, h, w) pixels."""
    picked = rows[:: max(1, -(-rows.size // most))]
    return picked, images_at(subject, picked)


def stratified(scored: Scored, groups: Ints, most: int) -> Ints:
    """Places of a few scored images of each predicted class, rising.

    Every class gets the same number, so that rare ones are covered; unused places go to the
    other classes. Within a class, each patient's first image comes before any second one.

    Args:
        scored: the model and its predictions.
        groups: int64 (n,), patient of each scored image.
        most: how many in all.
    """
    predicted = scored.probabilities["whole"].argmax(axis=1)
    queues = []
    for kind in np.unique(predicted):
        mine = np.flatnonzero(predicted == kind)
        turn = np.zeros(mine.size, np.int64)
        for patient in np.unique(groups[mine]):
            here = groups[mine] == patient
            turn[here] = np.arange(here.sum())
        queues.append(mine[np.argsort(turn, kind="stable")].tolist())
    rounds = zip_longest(*queues)
    dealt = [place for each in rounds for place in each if place is not None]
    return np.asarray(sorted(dealt[:most]), np.int64)


def images_at(subject: Subject, rows: Ints) -> Pixels:
    """Pixels (n, size, size) of images at some places in the subject's rows."""
    uris = subject.column("uri")[rows]
    pixels = dict(pixels_of_some(subject.images, set(uris)))
    return np.stack([pixels[uri] for uri in uris])


def _region(subject: Subject, rows: Ints) -> Mask:
    """The lung region of a sample, from the masks of some of its images."""
    picked, images = some_images(subject, rows, limits.AUDIT_MASKS_MAX)
    masks = subject.column("mask_uri")[picked]
    return lung_region(np.stack([lungs_of(f, m) for f, m in zip(images, masks, strict=True)]))


def _with_images(todo: list[chunks.Chunk], uris: set[str]) -> list[chunks.Chunk]:
    """The chunks that hold an image of the sample; the pixels of the others are not read."""
    kept = []
    for chunk in todo:
        with open_parquet(place_of(chunk.path)) as file:
            names = file.read_row_group(chunk.row_group, columns=["uri"])["uri"].to_pylist()
        if not uris.isdisjoint(names):
            kept.append(chunk)
    return kept


def check_size(subject: Subject, size: int) -> None:
    """Check that the images have the input size of a bundle, in pixels.

    Raises:
        InputError: they have another size.
    """
    part = chunks.parts_of(subject.images)[0]
    with open_whole(part) as file:
        pixels = file.read_row_group(0, columns=["pixels"])["pixels"]
    side = int(len(pixels[0].as_buffer()) ** 0.5)
    if side != size:
        raise InputError(
            f"{subject.images}: images have {side} pixels a side, but the model expects {size}: "
            f"reingest with --set ingest.size={size}"
        )


def sample_of(subject: Subject) -> Ints:
    """Places (m,) of the images that a model is audited on, rising; see :func:`score_sample`."""
    labels, tested = subject.labels, subject.tested
    ids = subject.rows["image_id"].to_pylist()
    order = [hashlib.sha256(f"{subject.seed}:audit:{name}".encode()).digest() for name in ids]
    known = np.flatnonzero(labels >= 0)
    ranked = sorted(known.tolist(), key=lambda row: (not tested[row], order[row]))
    half = limits.AUDIT_IMAGES_MAX // 2
    first = [row for row in ranked if tested[row]][:half]
    rest = sorted(set(ranked) - set(first), key=lambda row: order[row])
    return np.asarray(sorted(first + rest[: limits.AUDIT_IMAGES_MAX - len(first)]), np.int64)


def _gather(
    subject: Subject,
    bundle: Bundle,
    rows: Ints,
    region: Mask,
    parts: list[chunks.Part],
) -> Scored:
    place = {subject.rows["uri"][int(row)].as_py(): n for n, row in enumerate(rows)}
    classes = list(bundle.config.classes)
    probabilities: dict[str, Floats] = {}
    features: Floats | None = None
    covered: dict[str, Floats] = {}
    for part in parts:
        table = pq.read_table(part.path)
        where = [place[uri] for uri in table["uri"].to_pylist()]
        if part.table == "features":
            values = np.asarray(table["features"].to_pylist(), np.float64)
            if features is None:
                features = np.full((rows.size, values.shape[1]), np.nan)
            features[where] = values
            continue
        if part.table == "covered":
            for name, row, deep in zip(
                table["model"].to_pylist(), where, table["features"].to_pylist(), strict=True
            ):
                covered.setdefault(name, np.full((rows.size, len(deep)), np.nan))[row] = deep
            continue
        logits = np.asarray(table["logits"].to_pylist(), np.float64)
        probability = softmax(logits, bundle.config.temperature)
        for name, row, scores in zip(table["model"].to_pylist(), where, probability, strict=True):
            empty = np.full((rows.size, len(classes)), np.nan)
            probabilities.setdefault(name, empty)[row] = scores
    if features is None or any(np.isnan(scores).any() for scores in probabilities.values()):
        raise InputError(f"{subject.images}: lacks images of the cohort: rerun split")
    folds = not np.isnan(subject.numbers("fold")).all()
    unseen = np.zeros(rows.size, bool) if folds else subject.tested[rows]
    if not subject.has_split:
        unseen = np.ones(rows.size, bool)
    return Scored(bundle, rows, probabilities, features, unseen, region, covered)
