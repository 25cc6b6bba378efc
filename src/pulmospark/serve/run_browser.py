"""Look through the predictions of finished runs: errors first, with the nearest training images.

Reads the tables of a run's folder with pyarrow; needs neither Spark nor torch. A run's and an
image's name are looked up among those that exist, and never become a path.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from pulmospark.audit.results import AuditReport
from pulmospark.core import files, limits
from pulmospark.core.arrays import Floats, Mask
from pulmospark.core.errors import InputError
from pulmospark.data.cohort.split_summary import read_split
from pulmospark.evaluation.results import Evaluation
from pulmospark.experiment.run_folder import RunFolder
from pulmospark.serve.nearest_images import NearestImages, nearest_images
from pulmospark.serve.run_images import RunImages

Outcome = Literal["all", "errors", "correct"]
Order = Literal["errors", "probability"]

_COLUMNS = ["image_id", "uri", "label", "prediction", "probability", "source", "fold", "split"]
_KEPT = 6
"""tables that stay in memory: predictions, images' ids and small training images of two runs"""

T = TypeVar("T")


@dataclass(frozen=True)
class PredictionFilter:
    """Which predictions to show, and in which order."""

    outcome: Outcome = "all"
    label: str | None = None
    prediction: str | None = None
    source: str | None = None
    probability_of: str | None = None
    """class of the run that ``low``, ``high`` and the order by probability refer to; ``None``: the
    most probable class of each image"""
    low: float = 0.0
    high: float = 1.0
    order: Order = "errors"
    """``errors``: errors first, the most certain ones at the top; then the others, the least
    certain at the top. ``probability``: highest first"""


@dataclass(frozen=True)
class RunPredictions:
    """The predictions of a run, in memory.

    ``probabilities`` is float64 (images, classes); ``rows`` has the other columns.
    """

    folder: RunFolder
    evaluation: Evaluation
    rows: pa.Table
    probabilities: Floats

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.evaluation.classes

    @property
    def sources(self) -> list[str]:
        """Data sets that the images came from, sorted."""
        return sorted(name for name in pc.unique(self.rows["source"]).to_pylist() if name)

    def select(self, wanted: PredictionFilter) -> list[int]:
        """Numbers of the rows that match a filter, in its order."""
        wrong = self._wrong()
        chosen = self._probability_of(wanted.probability_of)
        keep = (chosen >= wanted.low) & (chosen <= wanted.high)
        for column in ("label", "prediction", "source"):
            if (value := getattr(wanted, column)) is not None:
                keep &= _bools(pc.equal(self.rows[column], value))
        if wanted.outcome != "all":
            keep &= wrong if wanted.outcome == "errors" else ~wrong
        if wanted.order == "errors":
            certainty = self.probabilities.max(axis=1)
            order = np.lexsort((np.where(wrong, -certainty, certainty), ~wrong))
        else:
            order = np.argsort(-chosen, kind="stable")
        return [int(row) for row in order[keep[order]]]

    def find(self, image_id: str) -> int | None:
        """Number of the first row of an image; ``None``: the run did not test it."""
        row = pc.index(self.rows["image_id"], pa.scalar(image_id)).as_py()
        return None if row < 0 else int(row)

    def _wrong(self) -> Mask:
        return _bools(pc.not_equal(self.rows["prediction"], self.rows["label"]))

    def _probability_of(self, name: str | None) -> Floats:
        if name is None:
            return np.asarray(self.probabilities.max(axis=1))
        return self.probabilities[:, self.classes.index(name)]


class RunBrowser:
    """Finished runs below a folder; safe to be used by several threads.

    Args:
        runs: folder with a folder for each run.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Names of the runs that are evaluated, sorted.

        Raises:
            InputError: the folder cannot be listed.
        """
        try:
            folders = sorted(self._runs.iterdir())
        except OSError as error:
            raise InputError(
                f"{self._runs}: cannot be listed ({error.strerror}): check --runs"
            ) from error
        return [folder.name for folder in folders if _evaluation_file(folder).is_file()]

    def evaluation(self, name: str) -> Evaluation | None:
        """The metrics of a run; ``None``: there is no evaluated run of this name.

        Raises:
            InputError: its file is damaged.
        """
        if name not in self.names():
            return None
        return read_evaluation(self._runs / name)

    def predictions(self, name: str) -> RunPredictions | None:
        """The predictions of a run; ``None``: there is no evaluated run of this name.

        Raises:
            InputError: its files are damaged, or it has more than ``limits.BROWSED_ROWS_MAX``
                predictions.
        """
        if name not in self.names():
            return None
        folder = self._runs / name
        return self._keep("predictions", folder, lambda: _read_predictions(RunFolder(folder)))

    def images(self, run: RunFolder) -> RunImages:
        """The images of a run."""
        return self._keep("images", run.root, lambda: RunImages(run.tables / "images"))

    def nearest(self, run: RunFolder, fold: int | None) -> NearestImages:
        """What finds the nearest training images of a run's model.

        Args:
            run: the run.
            fold: of the model; ``None``: there is one.
        """
        return self._keep(f"nearest {fold}", run.root, lambda: nearest_images(run, fold))

    def _keep(self, kind: str, folder: Path, read: Callable[[], T]) -> T:
        """What is read, kept until the run is evaluated again or others have taken its place.

        One thread reads at a time: two would do the same work.
        """
        key = (kind, folder.name, _evaluation_file(folder).stat().st_mtime_ns)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = read()
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            value: T = self._kept[key]
            return value


def file_name(uri: str) -> str:
    """The last part of an image's path, for display only."""
    return PurePosixPath(uri).name


def is_of_phantoms(run: RunFolder) -> bool:
    """Whether a run's settings say that its images are phantoms."""
    return bool(files.read_json(run.settings).get("phantoms", False))


def audits_of(run: RunFolder) -> AuditReport | None:
    """The audits of a run; ``None``: it was not audited, or was split anew since."""
    file = run.audit / "audit.json"
    if not file.is_file():
        return None
    try:
        report = AuditReport.model_validate(files.read_json(file))
    except ValidationError as error:
        raise InputError(f"{file}: damaged: run `pulmospark audit` again") from error
    return report if report.cohort_id == read_split(run.cohort).cohort_id else None


def _evaluation_file(folder: Path) -> Path:
    return RunFolder(folder).evaluation / "evaluation.json"


def read_evaluation(folder: Path) -> Evaluation:
    """The metrics of a run.

    Raises:
        InputError: the file is damaged.
    """
    file = _evaluation_file(folder)
    try:
        return Evaluation.model_validate(files.read_json(file)["evaluation"])
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{file}: damaged: run `pulmospark evaluate` again") from error


def _read_predictions(run: RunFolder) -> RunPredictions:
    evaluation = read_evaluation(run.root)
    try:
        table = pq.ParquetDataset(run.evaluation / "predictions")
        count = sum(part.metadata.num_rows for part in table.fragments)
        _check_count(count, run.root)
        rows = table.read(columns=_COLUMNS)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{run.evaluation}: damaged: run `pulmospark evaluate` again") from error
    flat = rows["probability"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if flat.size != rows.num_rows * len(evaluation.classes):
        raise InputError(
            f"{run.evaluation}: predictions and evaluation differ in their classes: run "
            "`pulmospark evaluate` again"
        )
    probabilities = flat.reshape(rows.num_rows, len(evaluation.classes))
    return RunPredictions(run, evaluation, rows.drop_columns(["probability"]), probabilities)


def _check_count(count: int, run: Path) -> None:
    if count > limits.BROWSED_ROWS_MAX:
        raise InputError(
            f"{run.name}: has {count:,} predictions, and the run browser shows at most "
            f"{limits.BROWSED_ROWS_MAX:,}: read the table `predictions` instead"
        )


def _bools(column: pa.ChunkedArray) -> Mask:
    """Null counts as no match."""
    return np.asarray(column.fill_null(False).to_numpy(), dtype=np.bool_)
