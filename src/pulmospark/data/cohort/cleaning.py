"""Exclude or group images so that an audit passes; each exclusion has its reason."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from pulmospark.data.cohort.assignment import hashed

COPY = "near copy of another image"
CONFLICT = "label conflict between near copies"
_BAND_YEARS = 10


def joined_groups(rows: pd.DataFrame, clusters: pd.Series[Any]) -> pd.Series[Any]:
    """Merge all groups that are connected through near copies, named by the first.

    Args:
        rows: ``uri`` and ``group_id`` of the included images.
        clusters: name of the cluster of each image with a near copy, indexed by ``uri``.

    Returns:
        ``group_id`` of each row.
    """
    edges = rows.assign(cluster=rows["uri"].map(clusters)).dropna(subset=["cluster"])
    if edges.empty:
        return rows["group_id"]
    groups, left = np.unique(edges["group_id"].to_numpy(str), return_inverse=True)
    names, right = np.unique(edges["cluster"].to_numpy(str), return_inverse=True)
    size = groups.size + names.size
    graph = sparse.coo_array(
        (np.ones(left.size, np.int8), (left, right + groups.size)), shape=(size, size)
    )
    _, component = csgraph.connected_components(graph, directed=False)
    _, first, place = np.unique(component[: groups.size], return_index=True, return_inverse=True)
    joined = dict(zip(groups.tolist(), groups[first[place]].tolist(), strict=True))
    return rows["group_id"].map(lambda group: joined.get(group, group))


def copy_reasons(rows: pd.DataFrame, clusters: pd.Series[Any]) -> pd.Series[Any]:
    """Reason to exclude an image so that each cluster of near copies keeps one; null: it stays.

    Args:
        rows: ``uri`` and ``label`` of the included images.
        clusters: name of the cluster of each image with a near copy, indexed by ``uri``.
    """
    cluster = rows["uri"].map(clusters)
    known = rows.assign(cluster=cluster).groupby("cluster")
    first, labels = cluster.map(known["uri"].min()), cluster.map(known["label"].nunique())
    reason = pd.Series([None] * len(rows), rows.index, dtype=object)
    reason[cluster.notna() & (rows["uri"] != first)] = COPY
    reason[cluster.notna() & (labels > 1)] = CONFLICT
    return reason


def balance_reasons(
    rows: pd.DataFrame, by: Literal["source", "age", "sex", "view"], seed: int
) -> pd.Series[Any]:
    """Reason to exclude an image so that a feature no longer predicts the class; null: it stays.

    Each value of the feature keeps as many images of each class as it has of its rarest class;
    values that lack a class, and images without a value, are excluded. Patients are kept in the
    order of a hash of seed and id, independent of the order of the rows.

    Args:
        rows: ``uri``, ``group_id``, ``label`` and the feature of the included images.
        by: the feature; ages in ten-year bands.
        seed: of the choice.
    """
    stratum = rows["age"] // _BAND_YEARS if by == "age" else rows[by]
    given = rows.assign(stratum=stratum).dropna(subset=["stratum"])
    cells = given.groupby(["stratum", "label"]).size().unstack(fill_value=0)
    classes = rows["label"].nunique()
    kept = cells.min(axis=1) if cells.shape[1] == classes else cells.min(axis=1) * 0
    order = {group: hashed(f"{seed}:balance", group) for group in given["group_id"].unique()}
    given = given.assign(order=given["group_id"].map(order)).sort_values(["order", "uri"])
    place = given.groupby(["stratum", "label"]).cumcount()
    stays = place.index[(place < given["stratum"].map(kept)).to_numpy()]
    reason = pd.Series([f"balanced by {by}"] * len(rows), rows.index, dtype=object)
    reason[stays] = None
    return reason
