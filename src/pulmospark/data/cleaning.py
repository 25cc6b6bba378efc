"""What a split leaves out or keeps together so that an audit passes; each has its reason."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - the name everyone knows it by
from scipy import sparse
from scipy.sparse import csgraph

COPY = "near copy of another film"
CONFLICT = "label conflict between near copies"
_BAND_YEARS = 10


def with_copies(rows: DataFrame, copies: pa.Table, how: Literal["together", "drop"]) -> DataFrame:
    """Keep near copies on one side of the split, or keep one film of each.

    Args:
        rows: ``uri``, ``group_id``, ``label`` and ``reason``.
        copies: ``uri`` and ``cluster`` of the films that have copies.
        how: ``together`` makes one group of all patients whose films are copies of each other;
            ``drop`` gives all but the first of a cluster a reason, and all of a cluster where
            their classes differ.
    """
    if not copies.num_rows:
        return rows
    known = rows.sparkSession.createDataFrame(copies.to_pandas())
    if how == "together":
        return _together(rows, known)
    rows = rows.join(F.broadcast(known), "uri", "left")
    same = Window.partitionBy("cluster", F.col("reason").isNull())
    takes_part = F.col("reason").isNull() & F.col("cluster").isNotNull()
    rows = rows.withColumns(
        {
            "first_copy": F.min("uri").over(same),
            "copy_labels": F.size(F.collect_set("label").over(same)),
        }
    )
    reason = F.when(takes_part & (F.col("copy_labels") > 1), CONFLICT).when(
        takes_part & (F.col("uri") != F.col("first_copy")), COPY
    )
    return _without(rows, reason).drop("cluster", "first_copy", "copy_labels")


def _together(rows: DataFrame, copies: DataFrame) -> DataFrame:
    """One group of the patients that hang together through copies, named by the first of them."""
    taking_part = rows.where("reason is null")
    edges = taking_part.join(F.broadcast(copies), "uri").select("group_id", "cluster").distinct()
    told = edges.toPandas()  # as many as there are copies
    joined = _components(told)
    if joined.empty:
        return rows
    names = rows.sparkSession.createDataFrame(joined)
    rows = rows.join(F.broadcast(names), "group_id", "left")
    return rows.withColumn("group_id", F.coalesce("joined", "group_id")).drop("joined")


def _components(edges: pd.DataFrame) -> pd.DataFrame:
    """``group_id`` and ``joined``, the least group of its connected component."""
    groups, left = np.unique(edges["group_id"].to_numpy(str), return_inverse=True)
    names, right = np.unique(edges["cluster"].to_numpy(str), return_inverse=True)
    size = groups.size + names.size
    graph = sparse.coo_array(
        (np.ones(left.size, np.int8), (left, right + groups.size)), shape=(size, size)
    )
    _, component = csgraph.connected_components(graph, directed=False)
    of_groups = component[: groups.size]
    _, first, place = np.unique(of_groups, return_index=True, return_inverse=True)
    return pd.DataFrame({"group_id": groups, "joined": groups[first[place]]})


def balanced(rows: DataFrame, by: Literal["source", "age", "sex", "view"], seed: int) -> DataFrame:
    """Leave films out so that a thing tells the classes no longer.

    Each value of it keeps as many films of each class as it has of its rarest class; a value
    that lacks a class, or films of which it is not known, are left out. Patients are kept in
    the order of a hash of seed and id, so that the same films stay whatever their order.

    Args:
        rows: the columns of a cohort, ``label`` and ``reason`` among them.
        by: the thing; ages by bands of ten years.
        seed: of the choice.
    """
    stratum = _stratum(by)
    rows = rows.withColumn("stratum", stratum)
    used = rows.where("reason is null")
    classes = used.select("label").distinct().count()
    cells = used.where("stratum is not null").groupBy("stratum", "label").count()
    kept = cells.groupBy("stratum").agg(
        F.when(F.count("*") == classes, F.min("count")).otherwise(0).alias("kept")
    )
    rows = rows.join(F.broadcast(kept), "stratum", "left")
    order = F.sha2(F.concat_ws(":", F.lit(f"{seed}:balance"), "group_id"), 256)
    place = Window.partitionBy("stratum", "label", F.col("reason").isNull()).orderBy(order, "uri")
    rows = rows.withColumn("place", F.row_number().over(place))
    beyond = F.col("reason").isNull() & (F.col("place") > F.coalesce("kept", F.lit(0)))
    reason = F.when(beyond, F.lit(f"balanced by {by}"))
    return _without(rows, reason).drop("stratum", "kept", "place")


def _stratum(by: str) -> Column:
    if by == "age":
        return F.floor(F.col("age") / _BAND_YEARS).cast("string")
    return F.col(by)


def _without(rows: DataFrame, reason: Column) -> DataFrame:
    rows = rows.withColumn("reason", F.coalesce("reason", reason))
    return rows.withColumn("label", F.when(F.col("reason").isNull(), F.col("label")))
