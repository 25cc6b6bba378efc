"""The worklist: results in the ledger, their queries, and what goes when there are too many."""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pulmospark.core import serve_limits
from pulmospark.serve.errors import ServiceError
from pulmospark.serve.results import Result

Sort = Literal["probability", "time"]


@dataclass(frozen=True)
class Entry:
    """A request as it enters the ledger."""

    id: str
    key: str | None
    """``Idempotency-Key``, hashed"""
    content: str
    """SHA-256 of what was sent"""
    source: str
    model: str
    results: Sequence[Result]
    tensors: int = 0
    """images that came as tensors, and have no results"""


@dataclass(frozen=True)
class Query:
    """Filters of the worklist; ``None``: any."""

    sort: Sort = "time"
    class_name: str | None = None
    status: str | None = None
    least: float | None = None
    most: float | None = None
    source: str | None = None
    study: str | None = None
    prediction: str | None = None
    cursor: str | None = None
    limit: int = 100


class RepeatedKeyError(Exception):
    """Another request with the same key was committed first."""


def enter(connection: sqlite3.Connection, entry: Entry, kept: dict[str, int]) -> None:
    """Enter a request and its results; a change for :meth:`Ledger.write`.

    Args:
        connection: the writer's.
        entry: the request.
        kept: id and bytes of each file that was kept.

    Raises:
        RepeatedKeyError: its key is there already.
    """
    now = time.time()
    rejects = sum(result.body["status"] == "rejected" for result in entry.results)
    ids = json.dumps([result.id for result in entry.results])
    images = len(entry.results) - rejects + entry.tensors
    row = (entry.id, entry.key, entry.content, now, entry.source, entry.model, images, rejects)
    try:
        connection.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, ids))
    except sqlite3.IntegrityError as error:
        raise RepeatedKeyError from error
    for result in entry.results:
        _insert(connection, entry, result, now, is_kept=result.image_id in kept)
    for image_id, size in kept.items():
        (seq,) = connection.execute("SELECT MAX(seq) FROM results").fetchone()
        connection.execute(
            "INSERT INTO images VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET seq = excluded.seq",
            (image_id, size, seq),
        )


def _insert(
    connection: sqlite3.Connection, entry: Entry, result: Result, now: float, *, is_kept: bool
) -> None:
    body = result.body
    image = body["image"] or {}
    row = (
        result.id,
        entry.id,
        now,
        entry.source,
        body["status"],
        body["prediction"],
        image.get("study"),
        image.get("series"),
        image.get("slice_index"),
        result.image_id if is_kept else None,
        result.frame,
        json.dumps(body, ensure_ascii=False, separators=(",", ":")),
    )
    cursor = connection.execute(
        "INSERT INTO results (id, request, at, source, status, prediction, study, series, slice,"
        " image, frame, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    connection.executemany(
        "INSERT OR IGNORE INTO probabilities VALUES (?, ?, ?)",
        [(name, value, cursor.lastrowid) for name, value in body["probabilities"].items()],
    )


def earlier(connection: sqlite3.Connection, key: str) -> tuple[str, str, list[Any]] | None:
    """The request of a key: its id, the digest of its content, and its results."""
    row = connection.execute("SELECT id, content FROM requests WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    bodies = connection.execute(
        "SELECT body FROM results WHERE request = ? ORDER BY seq", (row[0],)
    )
    return row[0], row[1], [json.loads(body) for (body,) in bodies]


def find(connection: sqlite3.Connection, query: Query, default_class: str) -> dict[str, Any]:
    """A page of the worklist: ``results``, ``next_cursor`` and ``total``.

    Args:
        connection: of a reader.
        query: filters and order. Probabilities are those of ``class_name``.
        default_class: where the query has none.

    Raises:
        ServiceError: the cursor is not one of this service.
    """
    class_name = query.class_name or default_class
    by_probability = query.sort == "probability"
    has_range = query.least is not None or query.most is not None
    conditions, values = _conditions(query)
    table = "results r"
    if by_probability or has_range:
        table = "probabilities p JOIN results r ON r.seq = p.seq"
        conditions = ["p.class = ?", *conditions]
        values = [class_name, *values]
    where = " AND ".join(conditions) or "1"
    (total,) = connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}", values).fetchone()
    order = "r.seq DESC"
    key = "NULL"
    if by_probability:
        order, key = "p.probability DESC, p.seq DESC", "p.probability"
    if query.cursor is not None:
        before, seq = _read_cursor(query.cursor, by_probability=by_probability)
        if by_probability:
            where += " AND (p.probability, p.seq) < (?, ?)"
            values += [before, seq]
        else:
            where += " AND r.seq < ?"
            values += [seq]
    rows = connection.execute(
        f"SELECT r.seq, {key}, r.body FROM {table} WHERE {where} ORDER BY {order} LIMIT ?",
        [*values, query.limit + 1],
    ).fetchall()
    page, more = rows[: query.limit], len(rows) > query.limit
    cursor = _cursor(page[-1][1], page[-1][0]) if more else None
    return {"results": [json.loads(row[2]) for row in page], "next_cursor": cursor, "total": total}


def _conditions(query: Query) -> tuple[list[str], list[Any]]:
    given = (
        ("r.status = ?", query.status),
        ("r.prediction = ?", query.prediction),
        ("r.source = ?", query.source),
        ("r.study = ?", query.study),
        ("p.probability >= ?", query.least),
        ("p.probability <= ?", query.most),
    )
    chosen = [(text, value) for text, value in given if value is not None]
    return [text for text, _ in chosen], [value for _, value in chosen]


def _cursor(key: float | None, seq: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([key, seq]).encode()).decode()


def _read_cursor(text: str, *, by_probability: bool) -> tuple[float, int]:
    with_hint = ServiceError(400, "cursor: not one of this service: omit it to start again")
    try:
        key, seq = json.loads(base64.urlsafe_b64decode(text.encode()))
    except (ValueError, binascii.Error, TypeError, RecursionError) as error:
        raise with_hint from error
    if type(seq) is not int or abs(seq) >= 1 << 63 or isinstance(key, float) != by_probability:
        raise with_hint
    return key or 0.0, seq


def one(connection: sqlite3.Connection, result_id: str) -> sqlite3.Row:
    """A result: ``body``, ``image``, ``frame`` and ``study``.

    Raises:
        ServiceError: 404, there is none.
    """
    row = connection.execute(
        "SELECT body, image, frame, study FROM results WHERE id = ?", (result_id,)
    ).fetchone()
    if row is None:
        raise ServiceError(404, "no such result: it was deleted, or is too old to be kept")
    assert isinstance(row, sqlite3.Row)
    return row


def of_study(connection: sqlite3.Connection, study: str) -> list[Any]:
    """The results of a study, by series and slice; an image that was sent twice counts once."""
    rows = connection.execute(
        "SELECT body FROM results WHERE study = ? AND seq IN (SELECT MAX(seq) FROM results "
        "WHERE study = ? GROUP BY COALESCE(image, id), frame) ORDER BY series, slice, seq LIMIT ?",
        (study, study, serve_limits.SERVE_STUDY_RESULTS_MAX),
    )
    return [json.loads(body) for (body,) in rows]


@dataclass(frozen=True)
class Removed:
    """What left the worklist: its files can go."""

    results: tuple[str, ...]
    images: tuple[str, ...]


def remove(connection: sqlite3.Connection, result_id: str) -> Removed:
    """Delete a result, and its image if no other result has it.

    Raises:
        ServiceError: 404, there is none.
    """
    row = connection.execute("SELECT seq FROM results WHERE id = ?", (result_id,)).fetchone()
    if row is None:
        raise ServiceError(404, "no such result: it was deleted, or is too old to be kept")
    return _remove(connection, "seq = ?", row[0])


def trim(connection: sqlite3.Connection, results_max: int, bytes_max: int) -> Removed:
    """Delete the oldest results and images beyond what is kept."""
    removed = Removed((), ())
    row = connection.execute(
        "SELECT seq FROM results ORDER BY seq DESC LIMIT 1 OFFSET ?", (results_max,)
    ).fetchone()
    if row is not None:
        removed = _remove(connection, "seq <= ?", row[0])
    (total,) = connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM images").fetchone()
    gone = []
    rows = (
        connection.execute("SELECT id, bytes FROM images ORDER BY seq")
        if total > bytes_max
        else ()
    )
    for image_id, size in rows:
        if total <= bytes_max:
            break
        gone.append(image_id)
        total -= size
    marks = [(image_id,) for image_id in gone]
    connection.executemany("DELETE FROM images WHERE id = ?", marks)
    return Removed(removed.results, (*removed.images, *gone))


def _remove(connection: sqlite3.Connection, condition: str, value: int) -> Removed:
    rows = connection.execute(
        f"DELETE FROM results WHERE {condition} RETURNING id, image", (value,)
    ).fetchall()
    connection.execute(f"DELETE FROM probabilities WHERE {condition}", (value,))
    images = {row[1] for row in rows if row[1] is not None}
    unused = [
        image_id
        for image_id in images
        if not connection.execute("SELECT 1 FROM results WHERE image = ?", (image_id,)).fetchone()
    ]
    connection.executemany("DELETE FROM images WHERE id = ?", [(name,) for name in unused])
    return Removed(tuple(row[0] for row in rows), tuple(unused))
