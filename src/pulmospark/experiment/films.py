"""The films that a report shows: correctly and wrongly classified ones."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pulmospark.core import limits
from pulmospark.data.pixels import pixels_of_some
from pulmospark.experiment.folder import RunFolder
from pulmospark.report.content import Film
from pulmospark.report.films import thumbnail


def right_and_wrong(
    run: RunFolder, classes: Sequence[str]
) -> tuple[tuple[Film, ...], tuple[Film, ...]]:
    """Correctly classified films, alternating by class, and wrong ones; most confident first.

    Args:
        run: folder of an evaluated run.
        classes: in the order of the probabilities.
    """
    columns = ["image_id", "uri", "label", "prediction", "probability", "source"]
    rows = pq.read_table(run.evaluation / "predictions", columns=columns).to_pylist()
    most = limits.REPORT_FILMS_MAX

    def certain(fitting: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return heapq.nsmallest(most, fitting, key=lambda r: (-max(r["probability"]), r["uri"]))

    rights = [
        certain(row for row in rows if row["label"] == row["prediction"] == name)
        for name in classes
    ]
    # The most confident ones alone could all be of one class.
    mixed = [row for turn in zip_longest(*rights) for row in turn if row is not None]
    chosen = {
        True: mixed[:most],
        False: certain(row for row in rows if row["label"] != row["prediction"]),
    }
    pixels = thumbnails(
        run.tables / "images", {row["uri"] for rows in chosen.values() for row in rows}
    )
    right, wrong = (_films(chosen[key], pixels, classes) for key in (True, False))
    return right, wrong


def _films(
    rows: Iterable[dict[str, Any]], pixels: dict[str, bytes], classes: Sequence[str]
) -> tuple[Film, ...]:
    return tuple(
        Film(
            thumbnail=pixels[row["uri"]],
            image_id=row["image_id"],
            label=row["label"],
            prediction=row["prediction"],
            probability=max(row["probability"]),
            label_probability=row["probability"][classes.index(row["label"])],
            source=row["source"],
        )
        for row in rows
    )


def thumbnails(images: Path, uris: set[str]) -> dict[str, bytes]:
    """Thumbnails of films of an images table by path."""
    return {uri: thumbnail(pixels) for uri, pixels in pixels_of_some(images, uris)}
