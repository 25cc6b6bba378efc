"""Adds the output of a prediction to the tables of earlier ones, image by image once.

A prediction that is added scores what the tables lack and prepares its output aside; here its
rows become the next versions of the tables. Each commit is refused if another writer was faster,
and the rows are compared with the tables again: an image of a model is there once, whoever adds.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pulmospark.config.inference import AppendSettings, ScoringSettings
from pulmospark.core import files, lake_limits, limits, schemas
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.hashing import value_id
from pulmospark.core.machine import cache_folder
from pulmospark.inference.batch.result import PredictResult
from pulmospark.inference.batch.scored_before import SCHEMAS, ScoredBefore, scored_before
from pulmospark.inference.batch.sinks.json_sink import RECORD
from pulmospark.inference.batch.staged_rows import Attempt, StagedRows, new_rejects, written
from pulmospark.lake.append import append_version
from pulmospark.lake.table import find_table
from pulmospark.models.bundle.bundle import Bundle
from pulmospark.store.failures import ConflictError, ObjectMissingError
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

RUNS = "runs"
"""subfolder of an output that grows with the record and the CSV files of each run"""
_CSV = ("predictions.csv", "rejects.csv")


@dataclass(frozen=True)
class Appending:
    """A prediction that is added to an output.

    Attributes:
        out: folder of the output, or its address.
        model_id: of the bundle.
        settings: of the append.
    """

    out: Path | StoreUri
    model_id: str
    settings: AppendSettings

    @property
    def works_next_to(self) -> Path:
        """A folder of this machine, next to which the run works until its rows are committed."""
        if isinstance(self.out, Path):
            return self.out
        return cache_folder() / "appended" / value_id([str(self.out)]) / "output"

    def before(self, begun: datetime) -> ScoredBefore:
        """What needs not be scored, or added, by an attempt begun at a time."""
        since = begun if self.settings.rescore else None
        return scored_before(self.out, self.model_id, since)

    def publish(
        self, staged: Path, attempt: Attempt, result: PredictResult, work: Path
    ) -> PredictResult:
        """Add the rows of an output to the tables, and its record.

        Args:
            staged: folder of the output as it was prepared.
            attempt: that scored it.
            result: of the prediction.
            work: folder for files that are not needed later.

        Returns:
            The result, with the version of the predictions and the number of repeats.

        Raises:
            ConflictError: others add faster.
            InputError: the tables have other columns, or are partitioned in another way.
            PlatformError: no space, or no right to write there.
            SourceUnavailableError: the store fails.
        """
        if _get(self.out, RECORD) is None:  # marks the folder before there is a table
            _put(self.out, RECORD, staged / RECORD)
        for turn in range(lake_limits.APPEND_TRIES):
            before = self.before(attempt.begun)
            try:
                with tempfile.TemporaryDirectory(dir=work) as folder:
                    version, repeats = self._append(staged, attempt, before, Path(folder))
                break
            except ConflictError:
                if turn == lake_limits.APPEND_TRIES - 1:
                    raise
        is_store = isinstance(self.out, StoreUri)
        result = result.model_copy(
            update={
                "folder": None if is_store else self.out,
                "address": str(self.out) if is_store else None,
                "repeats": repeats,
                "version": version,
            }
        )
        if result.files:
            self._record(staged, attempt, result)
        return result

    def _append(
        self, staged: Path, attempt: Attempt, before: ScoredBefore, folder: Path
    ) -> tuple[int, int]:
        """Commit the rows that the tables lack; version of the predictions, and repeats."""
        partition_by = _partition_of(self.out, self.settings)
        rows = StagedRows.of(staged, before)
        version = before.versions["predictions"]
        days = np.unique(rows.days[rows.new]) if partition_by else [None]
        for day in days if len(days) else [None]:
            mask = rows.new if day is None else rows.new & (rows.days == day)
            parts = written(rows.chosen(mask), schemas.PREDICTIONS, folder / f"p-{day}")
            date = str(attempt.begun.date() if day is None else day)
            key = hashlib.sha256(rows.keys[mask].tobytes()).hexdigest()
            version = self._commit("predictions", parts, attempt, version, key=key, date=date)
        date = str(attempt.begun.date())
        repeats = written(rows.repeats(attempt.begun), schemas.REPEATS, folder / "repeats")
        rejects = written(new_rejects(staged, before), schemas.REJECTS, folder / "rejects")
        for table, parts in {"rejects": rejects, "repeats": repeats}.items():
            key = value_id([attempt.name, *(part.stat().st_size for part in parts)])
            self._commit(table, parts, attempt, before.versions[table], key=key, date=date)
        return version, int(rows.repeated.sum())

    def _commit(
        self, table: str, parts: list[Path], attempt: Attempt, after: int, *, key: str, date: str
    ) -> int:
        by_date = _partition_of(self.out, self.settings)
        schema = SCHEMAS[table]
        return append_version(
            self.out / table,
            parts,
            schema.append(pa.field("date", pa.date32())) if by_date else schema,
            # The rows are part of the id: a killed attempt that is repeated may score more files.
            app_id=f"pulmospark.predict.{value_id([attempt.name, table, date, key])}",
            app_version=0,
            partition={"date": date} if by_date else None,
            after=after,
        )

    def _record(self, staged: Path, attempt: Attempt, result: PredictResult) -> None:
        record = files.read_json(staged / RECORD)
        files.write_json(staged / RECORD, {**record, "result": result.model_dump(mode="json")})
        for name in (*_CSV, RECORD):
            _put(self.out, f"{RUNS}/{attempt.name}/{name}", staged / name)
        for name in _CSV:  # of one run only, and the tables hold more now
            _remove(self.out, name)
        _put(self.out, RECORD, staged / RECORD)


def plan_append(
    out: Path | StoreUri | None, bundle: Bundle, settings: AppendSettings, scoring: ScoringSettings
) -> Appending:
    """Check, before any work, that a prediction can be added to an output.

    Args:
        out: folder of the output, or its address; need not exist.
        bundle: the model.
        settings: of the append.
        scoring: of the prediction.

    Raises:
        UsageError: no output is named, it holds predictions of other classes, or heat maps are
            requested.
        InputError: its tables are partitioned in another way.
        PlatformError: deltalake is missing.
        SourceUnavailableError: the store fails.
    """
    if out is None:
        raise UsageError("--append: needs --out, the output to add to")
    if scoring.heat_maps is not None:
        raise UsageError(
            "--append: heat maps cannot be added to an output: omit --heatmaps, or write them to "
            "an output of their own"
        )
    _partition_of(out, settings)
    classes = bundle.config.classes
    if (record := _get(out, RECORD)) is not None:
        known = tuple(record.get("result", {}).get("classes", classes))
        if known != classes:
            raise UsageError(
                f"{out}: its predictions have the classes {', '.join(known)}, and the bundle "
                f"{', '.join(classes)}, in that order: choose another --out"
            )
    return Appending(out, bundle.model_id, settings)


def _partition_of(out: Path | StoreUri, settings: AppendSettings) -> bool:
    """Whether the tables are, or are to be, partitioned by date."""
    delta = find_table(out / "predictions")
    if delta is None:
        return settings.partition_by is not None
    columns = delta.metadata().partition_columns
    if settings.partition_by is not None and columns != [settings.partition_by]:
        raise InputError(
            f"{out}: its tables are partitioned by {', '.join(columns) or 'nothing'}: omit "
            "--partition-by, or choose another --out"
        )
    return bool(columns)


def _put(out: Path | StoreUri, name: str, source: Path) -> None:
    if isinstance(out, StoreUri):
        open_store(out).put(f"{out.prefix}{name}", source.read_bytes())
        return
    target = out / name
    with files.disk_errors(out):
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.whole_file(target) as aside:
            files.link_or_copy(source, aside)


def _get(out: Path | StoreUri, name: str) -> Mapping[str, Any] | None:
    """The content of a JSON file; ``None``: there is none."""
    if not isinstance(out, StoreUri):
        return files.read_json(out / name) if (out / name).is_file() else None
    try:
        content = open_store(out).get(f"{out.prefix}{name}", limits.CONFIG_FILE_BYTES_MAX)
        return dict(json.loads(content))
    except ObjectMissingError:
        return None
    except ValueError as error:
        raise InputError(f"{out / name}: cannot be read as JSON: {error}") from None


def _remove(out: Path | StoreUri, name: str) -> None:
    if isinstance(out, StoreUri):
        open_store(out).delete(f"{out.prefix}{name}")
    else:
        (out / name).unlink(missing_ok=True)
