"""The images that a report shows: correctly and wrongly classified ones."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pulmospark.core import limits
from pulmospark.data.ingest.pixels import pixels_of_some
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.report.content import ExampleImage
from pulmospark.report.thumbnails import thumbnail


def right_and_wrong(
    run: RunFolder, classes: Sequence[str]
) -> tuple[tuple[ExampleImage, ...], tuple[ExampleImage, ...]]:
    """Images classified correctly, and errors, both of each class in turn; errors worst first.

    Args:
        run: folder of an evaluated run.
        classes: in the order of the probabilities.
    """
    columns = ["image_id", "uri", "label", "prediction", "probability", "source"]
    rows = pq.read_table(run.evaluation / "predictions", columns=columns).to_pylist()
    most = limits.REPORT_IMAGES_MAX

    def certain(fitting: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return heapq.nsmallest(most, fitting, key=lambda r: (-max(r["probability"]), r["uri"]))

    def in_turn(right: bool) -> list[dict[str, Any]]:
        """All of one class would say nothing about the others."""
        by_class = [
            certain(
                row
                for row in rows
                if row["label"] == name and (row["prediction"] == name) is right
            )
            for name in classes
        ]
        mixed = [row for turn in zip_longest(*by_class) for row in turn if row is not None]
        return mixed[:most]

    chosen = {True: in_turn(right=True), False: certain(in_turn(right=False))}
    pixels = thumbnails(
        run.tables / "images", {row["uri"] for rows in chosen.values() for row in rows}
    )
    right, wrong = (_images(chosen[key], pixels, classes) for key in (True, False))
    return right, wrong


def _images(
    rows: Iterable[dict[str, Any]], pixels: dict[str, bytes], classes: Sequence[str]
) -> tuple[ExampleImage, ...]:
    return tuple(
        ExampleImage(
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
    """Thumbnails of images of an images table by path."""
    return {uri: thumbnail(pixels) for uri, pixels in pixels_of_some(images, uris)}
