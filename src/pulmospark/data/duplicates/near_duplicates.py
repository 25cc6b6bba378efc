"""Near copies: images that show one picture, cropped, resized, toned or encoded differently.

Perceptual hashes find candidates on Spark (:mod:`pulmospark.data.duplicates.hash_pairs`), and each
is checked by overlaying the two images (:mod:`pulmospark.data.duplicates.overlays`). The driver
holds a few bytes per image and pair. Images that are connected, directly or through others, form
one cluster.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse
from scipy.sparse import csgraph

from pulmospark import chunks
from pulmospark.chunks.parts import parts_of
from pulmospark.core import files, hashing, limits, schemas
from pulmospark.core.arrays import Floats, Ints
from pulmospark.core.errors import InputError
from pulmospark.core.progress import Progress
from pulmospark.data.duplicates.fingerprints import HASHES, SMALL_SIDE, make_looks
from pulmospark.data.duplicates.hash_pairs import NearWork, plan_of, write_hashes
from pulmospark.data.duplicates.merged_pairs import write_pairs
from pulmospark.data.duplicates.overlays import OverlayWork

_KEPT = "copies"
"""folder of the last search"""
_IDENTITY = ("uri", "scan_id")
_LOOKS = ("mean", "border_mean")
_COUNTS = ("compared", "distance", "hot_buckets")


@dataclass(frozen=True)
class NearCopies:
    """The result of a search; images are numbered in the order of ``uri``.

    Attributes:
        first: int64 (p,), one image of each pair that shows one picture.
        second: int64 (p,), the other; above the first.
        correlation: float64 (p,).
        clusters: int64 (n,), number of each image's cluster; an image without a copy is alone.
        compared: candidates that were overlaid.
        distance: maximum Hamming distance of these; lower than requested if there were too many.
        hot_buckets: overfull buckets of the hash index, which were skipped.
        looks: "mean" and "border_mean" of each image.
    """

    first: Ints
    second: Ints
    correlation: Floats
    clusters: Ints
    compared: int
    distance: int
    hot_buckets: int
    looks: Mapping[str, Floats]


def find_near_copies(
    images: Path,
    facts: pa.Table,
    work: Path,
    executor: chunks.Executor,
    *,
    distance: int,
    correlation: float,
    pairs_max: int,
    quiet: bool,
) -> NearCopies:
    """Find the images of an images table that show one picture.

    Neighbouring slices of one scan are not compared: they are naturally alike. ``work`` keeps the
    search; another one of the same images or a subset, in the same table and with the same
    settings, reuses its pairs: the audit reuses the split's search.

    Args:
        images: the images table.
        facts: ``uri`` and ``scan_id`` of the images to search, ordered by ``uri``.
        work: folder for fingerprints and pairs; existing ones of the same images are kept.
        executor: runs the tasks.
        distance: maximum number of bits by which hashes may differ.
        correlation: minimum for two images to be one.
        pairs_max: maximum number of pairs to overlay; if there are more, the nearest.
        quiet: show no progress.

    Raises:
        InputError: more candidates than ``limits.NEAR_PAIRS_MAX``, or an image without
            fingerprints.
    """
    search_id = _search_id(images, distance, correlation, pairs_max)
    if (kept := kept_search(work / _KEPT, search_id, facts)) is not None:
        return kept
    parts = make_looks(images, work / "looks", executor, quiet=quiet)
    aside = work / "search"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    looks, small_id = _gather([part.path for part in parts], facts, aside)
    hot = candidates(aside, small_id, work / "near", executor, distance, quiet=quiet)
    todo = chunks.chunks_of(chunks.parts_of(aside / "pairs"))
    if (there := sum(chunk.rows for chunk in todo)) > limits.NEAR_PAIRS_MAX:
        raise InputError(_too_many(f"{there:,}"))
    within, count = _nearest(aside / "pairs", distance, pairs_max)
    with Progress("compare near copies", there, "pairs", quiet=quiet or not count) as progress:
        overlay = OverlayWork(str(aside / "small.bin"), small_id, within)
        done = chunks.run_chunks(executor, overlay, todo, work / "overlays", progress)
    copied = _read(done, correlation)
    shutil.rmtree(aside)
    copies = NearCopies(
        **copied,
        clusters=clusters(copied["first"], copied["second"], facts.num_rows),
        compared=count,
        distance=within,
        hot_buckets=hot,
        looks=looks,
    )
    keep_search(work / _KEPT, search_id, facts, copies)
    return copies


def _search_id(images: Path, distance: int, correlation: float, pairs_max: int) -> str:
    """Id of a search: from the files of an images table and the settings."""
    stats = [(part.name, part.stat()) for part in parts_of(images)]
    parts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    return hashing.value_id(["search", parts, distance, correlation, pairs_max])


def keep_search(folder: Path, search_id: str, facts: pa.Table, copies: NearCopies) -> None:
    """Keep a search for :func:`kept_search`, replacing the previous one."""
    looked = {name: pa.array(values) for name, values in copies.looks.items()}
    images = pa.table({name: facts[name] for name in _IDENTITY} | looked)
    pairs = {name: getattr(copies, name) for name in ("first", "second", "correlation")}
    with files.whole_folder(folder) as aside:
        pq.write_table(images, aside / "images.parquet")
        pq.write_table(pa.table(pairs), aside / "pairs.parquet")
        counts = {name: getattr(copies, name) for name in _COUNTS}
        files.write_json(aside / "search.json", {"search_id": search_id, **counts})


def kept_search(folder: Path, search_id: str, facts: pa.Table) -> NearCopies | None:
    """The pairs of a kept search among the given images; ``None``: it was another search.

    Args:
        folder: of :func:`keep_search`.
        search_id: of table and settings.
        facts: ``uri`` and ``scan_id`` of the images, ordered by ``uri``: all that were searched,
            or a subset.
    """
    record, searched = folder / "search.json", folder / "images.parquet"
    if not searched.is_file():  # none, or one of an earlier version, which is rebuilt
        return None
    if not record.is_file() or (saved := files.read_json(record))["search_id"] != search_id:
        return None
    images = pq.read_table(searched)
    at = pc.index_in(facts["uri"], value_set=images["uri"].combine_chunks())
    if at.null_count:
        return None
    places = np.asarray(at.to_numpy(), np.int64)
    images = images.take(pa.array(places))
    if images["scan_id"].to_pylist() != facts["scan_id"].to_pylist():
        return None
    pairs = pq.read_table(folder / "pairs.parquet")
    number = np.full(int(places.max(initial=-1)) + 1, -1, np.int64)
    number[places] = np.arange(places.size)
    first, second = (_renumbered(pairs[name].to_numpy(), number) for name in ("first", "second"))
    inside = (first >= 0) & (second >= 0)
    first, second = first[inside], second[inside]
    return NearCopies(
        first=first,
        second=second,
        correlation=pairs["correlation"].to_numpy()[inside],
        clusters=clusters(first, second, facts.num_rows),
        looks={name: images[name].to_numpy() for name in _LOOKS},
        **{name: saved[name] for name in _COUNTS},
    )


def _renumbered(numbers: Ints, number: Ints) -> Ints:
    """New numbers of images, -1 for those that have none."""
    known = numbers < number.size
    return np.where(known, number[np.where(known, numbers, 0)] if number.size else -1, -1)


def grey_levels(
    images: Path, facts: pa.Table, work: Path, executor: chunks.Executor, *, quiet: bool
) -> dict[str, Floats]:
    """Name, "mean" or "border_mean" -> values of each image, (n,), in the order of ``facts``.

    No pair is compared.

    Args:
        images: the images table.
        facts: ``uri`` of the images.
        work: folder for fingerprints; existing ones are kept.
        executor: runs the tasks.
        quiet: show no progress.

    Raises:
        InputError: an image is not in the table.
    """
    number = {uri: place for place, uri in enumerate(facts["uri"].to_pylist())}
    looks = {name: np.full(len(number), np.nan) for name in ("mean", "border_mean")}
    for part in make_looks(images, work / "looks", executor, quiet=quiet):
        rows = pq.read_table(part.path, columns=["uri", *looks])
        places = np.asarray([number.get(uri, -1) for uri in rows["uri"].to_pylist()], np.int64)
        for name, values in looks.items():
            values[places[places >= 0]] = rows[name].to_numpy()[places >= 0]
    _check_looks(looks)
    return looks


def _check_looks(looks: Mapping[str, Floats]) -> None:
    if missing := int(np.isnan(looks["mean"]).sum()):
        raise InputError(
            f"{missing} of {looks['mean'].size} images of the cohort are not in the images table: "
            "run `pulmospark split` again"
        )


def clusters(first: Ints, second: Ints, images: int) -> Ints:
    """Connected components of the graph of pairs; int64 (images,), numbered by first image."""
    edges = sparse.coo_array(
        (np.ones(first.size, np.int8), (first, second)), shape=(images, images)
    )
    _, components = csgraph.connected_components(edges, directed=False)
    return np.asarray(components, np.int64)


def clusters_of_images(found: NearCopies, facts: pa.Table) -> pa.Table:
    """``uri`` and ``cluster`` of the images that have a copy; named after the first image."""
    sizes = np.bincount(found.clusters, minlength=1)
    images = np.flatnonzero(sizes[found.clusters] > 1)
    first = np.full(sizes.size, facts.num_rows, np.int64)
    np.minimum.at(first, found.clusters[images], images)
    uris = facts["uri"]
    return pa.table(
        {
            "uri": uris.take(pa.array(images)),
            "cluster": uris.take(pa.array(first[found.clusters[images]])),
        }
    )


def _gather(parts: Sequence[Path], facts: pa.Table, aside: Path) -> tuple[dict[str, Floats], str]:
    """Small pictures and hashes in files; an image's number is its place in ``facts``."""
    number = {uri: place for place, uri in enumerate(facts["uri"].to_pylist())}
    looks = {name: np.full(len(number), np.nan) for name in _LOOKS}
    hashes, scans = write_hashes(aside, len(number), HASHES)
    scans[:] = _numbered(facts["scan_id"])
    names = []
    with (aside / "small.bin").open("wb") as small:
        for path in sorted(parts):
            rows = pq.read_table(path, schema=schemas.LOOKS)
            places = [number.get(uri, -1) for uri in rows["uri"].to_pylist()]
            kept = np.flatnonzero(np.asarray(places) >= 0)
            images = np.asarray(places, np.int64)[kept]
            taken = rows.take(pa.array(kept)).combine_chunks()
            for name, values in looks.items():
                values[images] = taken[name].to_numpy()
            flat = pc.list_flatten(taken["hashes"]).to_numpy().view(np.uint64)
            hashes[images] = flat.reshape(-1, HASHES)
            for image, picture in zip(images.tolist(), taken["small"], strict=True):
                small.seek(image * SMALL_SIDE * SMALL_SIDE)
                small.write(picture.as_buffer())
            names.append(path.name)
    hashes.flush()
    scans.flush()
    _check_looks(looks)
    return looks, hashing.value_id([names, facts["uri"].to_pylist(), facts["scan_id"].to_pylist()])


def _numbered(names: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """A number for each name, -1 where there is none."""
    codes = names.combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(codes, -1).to_numpy(zero_copy_only=False), np.int32)


def candidates(
    aside: Path,
    hashes_id: str,
    parts: Path,
    executor: chunks.Executor,
    distance: int,
    *,
    quiet: bool,
) -> int:
    """Write the pairs with similar hashes into ``pairs``.

    Args:
        aside: folder with the hashes (``near_hashes.write_hashes``).
        hashes_id: of their content.
        parts: folder for the tasks' results; existing ones of the same hashes are kept.
        executor: runs the tasks.
        distance: maximum number of bits by which hashes may differ.
        quiet: show no progress.

    Returns:
        The number of skipped buckets.
    """
    todo = chunks.chunks_of([plan_of(aside)])
    with Progress("search near copies", len(todo), "parts", quiet=quiet) as progress:
        near = NearWork.of(aside, hashes_id, distance)
        done = chunks.run_chunks(executor, near, todo, parts, progress)
    write_pairs([part for part in done if part.table == "near"], aside / "pairs")
    return sum(part.rows for part in done if part.table == "hot")


def _too_many(count: str) -> str:
    return (
        f"{count} pairs of images have similar hashes, over the limit of "
        f"{limits.NEAR_PAIRS_MAX:,}: set audit.hash_distance lower"
    )


def _nearest(pairs: Path, distance: int, most: int) -> tuple[int, int]:
    """The largest distance up to which there are at most ``most`` pairs, and their number."""
    counts = np.zeros(distance + 1, np.int64)
    for part in chunks.parts_of(pairs):
        distances = pq.read_table(part, columns=["distance"])["distance"].to_numpy()
        counts += np.bincount(distances, minlength=distance + 1)
    so_far = np.cumsum(counts)
    fitting = np.flatnonzero(so_far <= most)
    within = int(fitting[-1]) if fitting.size else 0
    return within, int(so_far[within])


def _read(parts: Sequence[chunks.Part], correlation: float) -> dict[str, Any]:
    first, second, fits = [], [], []
    for part in parts:
        rows = pq.read_table(part.path, schema=schemas.COPIES)
        kept = rows.filter(pa.array(rows["correlation"].to_numpy() >= correlation))
        first.append(kept["first"].to_numpy())
        second.append(kept["second"].to_numpy())
        fits.append(kept["correlation"].to_numpy().astype(np.float64))
    if not first:
        return {
            "first": np.empty(0, np.int64),
            "second": np.empty(0, np.int64),
            "correlation": np.empty(0),
        }
    one, other = np.concatenate(first), np.concatenate(second)
    order = np.lexsort((other, one))
    return {
        "first": one[order].astype(np.int64),
        "second": other[order].astype(np.int64),
        "correlation": np.concatenate(fits)[order],
    }
