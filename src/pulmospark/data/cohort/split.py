"""Split: assign patients to training, validation and test, and exclude images with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pulmospark.chunks.parts import parts_of
from pulmospark.config.split import SplitSettings
from pulmospark.core import files, limits, schemas
from pulmospark.core.delta_log import write_log
from pulmospark.core.errors import InputError
from pulmospark.core.provenance import provenance
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.assignment import assign, counted_parts
from pulmospark.data.cohort.class_mapping import map_findings
from pulmospark.data.cohort.cleaning import balance_reasons, copy_reasons, joined_groups
from pulmospark.data.cohort.patients_from_names import bounded, name_groups
from pulmospark.data.cohort.split_summary import (
    CopiesHandled,
    NameGrouping,
    SplitResult,
    check_classes,
    summary,
)
from pulmospark.data.duplicates.near_duplicates import NearCopies, clusters_of_images
from pulmospark.data.ingest.ingest import IngestResult

Search = Callable[[pa.Table], NearCopies]
"""from ``uri`` and ``scan_id`` of images, ordered by ``uri``, to their near copies"""

_READ = tuple(name for name in schemas.COHORT.names if name in schemas.IMAGES.names)
_GROUPED_BY = ("study_id", "scan_id")
"""columns whose images are of one patient, used if the patient is unknown"""


def split(
    ingested: IngestResult,
    classes: Mapping[str, Sequence[str]],
    settings: SplitSettings,
    target: Path,
    *,
    seed: int,
    search: Search | None = None,
) -> SplitResult:
    """Build the cohort table: one row per image, with its class and its split.

    A patient is never in two splits. If the patient is unknown, images are grouped by study,
    scan, and file and folder names; an image without any of these is a group by itself. Splits
    are stratified by class and source, and depend only on the seed and the ids, not on the order
    of the rows. Holds some hundred bytes per image in memory.

    Args:
        ingested: the images and their findings.
        classes: class -> findings, as :func:`pulmospark.data.cohort.class_mapping.map_findings`
            takes them.
        settings: shares or folds, and the views to include.
        target: folder of the cohort table.
        seed: of the assignment.
        search: for near copies, if ``settings.copies`` needs it; ``None``: no search, whatever
            the settings.

    Raises:
        ClassError: a class has no image, or a split lacks one.
        InputError: the images table contains augmented copies, which a split could separate from
            their images.
    """
    images = ingested.tables / "images"
    _check_no_children(images)
    table = _read(images)
    rows = _labelled(table, ingested, classes, settings)
    named = _name_groups(rows, {source.name: source.path for source in ingested.sources})
    copies = None
    if settings.copies != "ignore" and search is not None and rows["reason"].isna().any():
        copies = _with_copies(rows, settings, seed, search)
    if settings.balance != "none":
        used = rows[rows["reason"].isna()]
        _exclude(rows, balance_reasons(used, settings.balance, seed))
    _assign(rows, settings, seed)
    cohort = _cohort(table, rows)
    with files.whole_folder(target) as aside:
        (aside / "table").mkdir()
        pq.write_table(cohort, aside / "table" / "cohort.parquet")
        write_log(aside / "table", cohort.schema)
        result = summary(cohort, target, classes, settings=settings, seed=seed)
        result = result.model_copy(update={"name_groups": named, "copies": copies})
        check_classes(result)
        files.write_json(
            aside / "split.json",
            {
                "result": result.model_dump(mode="json"),
                "provenance": provenance(settings.model_dump(mode="json"), seed=seed),
            },
        )
    return result


def _check_no_children(images: Path) -> None:
    """Refuse what would leak: augmented copies of one image on both sides."""
    children = 0
    for part in parts_of(images):
        if "parent_id" in pq.read_schema(part).names:
            parents = pq.read_table(part, columns=["parent_id"])["parent_id"]
            children += len(parents) - parents.null_count
    if children:
        raise InputError(
            f"{images}: contains {children:,} augmented copies, which a split could separate "
            "from their images: split first, then expand the training split"
        )


def _read(images: Path) -> pa.Table:
    """The columns that a split needs, ordered by ``uri``."""
    columns = [*_READ, *(name for name in _GROUPED_BY if name not in _READ)]
    schema = pa.schema([schemas.IMAGES.field(name) for name in columns])
    parts = [pq.read_table(part, columns=columns).cast(schema) for part in parts_of(images)]
    return pa.concat_tables([schema.empty_table(), *parts]).sort_by("uri").combine_chunks()


def _labelled(
    table: pa.Table,
    ingested: IngestResult,
    classes: Mapping[str, Sequence[str]],
    settings: SplitSettings,
) -> pd.DataFrame:
    """Rows with ``label`` (null if excluded), ``reason``, ``group_id`` and ``part`` (null)."""
    findings = sorted(
        (listing.name, finding) for listing in ingested.sources for finding in listing.findings
    )
    mapped = map_findings(findings, classes)
    rows: pd.DataFrame = table.to_pandas()
    rows["group_id"] = rows["patient_id"].where(rows["patient_id"].notna(), rows["image_id"])
    rows["label"] = pd.Series(
        [mapped.get(key) for key in zip(rows["source"], rows["finding"], strict=True)],
        rows.index,
        dtype=object,
    )
    rows["reason"] = pd.Series([None] * len(rows), rows.index, dtype=object)
    other = ~rows["view"].isin(list(settings.views))
    unnamed = ~other & rows["finding"].isna()
    unclaimed = ~other & ~unnamed & rows["label"].isna()
    rows.loc[other, "reason"] = "view: " + rows.loc[other, "view"]
    rows.loc[unnamed, "reason"] = "no finding"
    rows.loc[unclaimed, "reason"] = "finding of no class: " + rows.loc[unclaimed, "finding"]
    used = rows[rows["reason"].isna()]
    same = used.groupby("image_id")
    repeated = used["uri"] != same["uri"].transform("min")
    differ = same["label"].transform("nunique") > 1
    rows.loc[repeated.index[repeated], "reason"] = "identical file"
    rows.loc[differ.index[differ], "reason"] = "label conflict between identical files"
    rows.loc[rows["reason"].notna(), "label"] = None
    rows["part"] = pd.Series([None] * len(rows), rows.index, dtype=object)
    return rows


def _name_groups(rows: pd.DataFrame, roots: Mapping[str, str]) -> tuple[NameGrouping, ...]:
    """Set ``group_id`` of images of unknown patients from study, scan or names."""
    groupings = []
    unknown = rows[rows["patient_id"].isna()]
    for source, some in unknown.groupby("source"):
        keys = pd.Series([None] * len(some), some.index, dtype=object)
        for column in _GROUPED_BY:
            of_column = f"{source}:{column.removesuffix('_id')}:" + some[column]
            keys = keys.where(keys.notna(), bounded(of_column, limits.STATED_GROUP_SHARE_MAX))
        names = name_groups(some["uri"], roots.get(str(source)))
        keys = keys.where(keys.notna(), f"{source}:name:" + names)
        known = keys.dropna()
        rows.loc[known.index, "group_id"] = known
        used = rows.loc[some.index]
        used = used[used["reason"].isna()]
        groupings.append(
            NameGrouping(
                source=str(source),
                images=len(used),
                grouped=int(used.index.isin(known.index).sum()),
                groups=int(used["group_id"].nunique()),
            )
        )
    return tuple(grouping for grouping in groupings if grouping.images)


def _with_copies(
    rows: pd.DataFrame, settings: SplitSettings, seed: int, search: Search
) -> CopiesHandled:
    """Merge the groups of near copies, or exclude copies, and count the effect."""
    used = rows[rows["reason"].isna()]
    facts = pa.Table.from_pandas(
        used[["uri", "scan_id"]],
        schema=pa.schema([("uri", pa.string()), ("scan_id", pa.string())]),
        preserve_index=False,
    )
    copies = search(facts)
    clusters = clusters_of_images(copies, facts).to_pandas().set_index("uri")["cluster"]
    before = used["group_id"].to_numpy()
    tested, leaking = _leaks_without(used, copies, settings, seed)
    if settings.copies == "together":
        rows.loc[used.index, "group_id"] = joined_groups(used, clusters)
    else:
        _exclude(rows, copy_reasons(used, clusters))
    used = rows[rows["reason"].isna()]
    return CopiesHandled(
        how="together" if settings.copies == "together" else "drop",
        pairs=int(copies.first.size),
        across=int((before[copies.first] != before[copies.second]).sum()),
        images=len(clusters),
        clusters=int(clusters.nunique()),
        groups_before=len(set(before.tolist())),
        groups_after=int(used["group_id"].nunique()),
        tested=tested,
        tested_with_copy=leaking,
        distance=copies.distance,
    )


def _leaks_without(
    used: pd.DataFrame, copies: NearCopies, settings: SplitSettings, seed: int
) -> tuple[int, int]:
    """Tested images of a split that ignores near copies, and those with a copy trained on."""
    rows = used.copy()
    _assign(rows, settings, seed)
    on_test = rows["split"] == Split.TEST.value
    tested = np.asarray(rows["fold"].notna() | on_test, np.bool_)
    part = rows["fold"].where(rows["fold"].notna(), on_test).to_numpy()
    used_at_all = np.asarray(rows["split"] != Split.EXCLUDED.value, np.bool_)
    first, second = copies.first, copies.second
    leak = (part[first] != part[second]) & used_at_all[first] & used_at_all[second]
    leaking = np.zeros(len(rows), np.bool_)
    leaking[first[leak]] = leaking[second[leak]] = True
    return int(tested.sum()), int((leaking & tested).sum())


def _exclude(rows: pd.DataFrame, reasons: pd.Series[Any]) -> None:
    reasons = reasons.dropna()
    rows.loc[reasons.index, "reason"] = reasons
    rows.loc[reasons.index, "label"] = None


def _assign(rows: pd.DataFrame, settings: SplitSettings, seed: int) -> None:
    """Set ``split`` and ``fold``; with fixed numbers of images, exclude the surplus."""
    used = rows[rows["reason"].isna()]
    if (parts := counted_parts(used, settings.images, seed)) is not None:
        counted = used["group_id"].map(parts)
        rows.loc[used.index, "part"] = counted
        beyond = counted.index[counted == Split.EXCLUDED.value]
        _exclude(rows, pd.Series("beyond the images asked for", beyond, dtype=object))
        used = rows[rows["reason"].isna()]
    rows["split"] = Split.EXCLUDED.value
    rows["fold"] = pd.Series([None] * len(rows), rows.index, dtype=object)
    if used.empty:
        return
    places = assign(used, settings, seed)
    rows.loc[used.index, "split"] = used["group_id"].map(places["split"])
    rows.loc[used.index, "fold"] = used["group_id"].map(places["fold"])


def _cohort(table: pa.Table, rows: pd.DataFrame) -> pa.Table:
    assigned = {
        name: pa.array(
            [None if pd.isna(value) else value for value in rows[name]],
            schemas.COHORT.field(name).type,
        )
        for name in ("group_id", "label", "split", "fold", "reason")
    }
    columns = [
        assigned.get(name, table[name] if name in _READ else None) for name in schemas.COHORT.names
    ]
    return pa.table(columns, schema=schemas.COHORT)
