"""The table of near copies has every pair, for programs and for a spreadsheet."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
from benchmarks.audit_images import clean_subject, copies_of

from pulmospark.audit import evidence
from pulmospark.audit.duplicate_pairs import CSV, PARQUET, as_csv, pairs_of, write_pairs
from pulmospark.audit.run import run_audits
from pulmospark.report.audit import render_audit_page
from pulmospark.report.audit_content import AuditPage, shown
from report import sample

IMAGES = 600


def test_every_pair_is_listed_leaks_first(tmp_path: Path) -> None:
    subject = clean_subject(IMAGES)
    split, sources = subject.column("split"), subject.column("source")
    tested, trained = (np.flatnonzero(split == part) for part in ("test", "train"))
    leaks = [(int(a), int(b)) if a < b else (int(b), int(a))
             for a, b in zip(tested[:30], trained[:30], strict=True)]  # fmt: skip
    within = [(n, n + 1) for n in range(0, 180, 2)]  # of one patient
    copies = copies_of(IMAGES, leaks + within)
    copies = replace(copies, correlation=np.linspace(0.9, 0.99, len(leaks + within)))
    table = pairs_of(subject, copies)
    assert table.num_rows == 120  # all, not the six that the report shows
    assert table["leak"].to_pylist() == [True] * 30 + [False] * 90
    uris = subject.column("uri")
    told = {(row["first_uri"], row["second_uri"]): row for row in table.to_pylist()}
    assert told.keys() == {(uris[a], uris[b]) for a, b in leaks + within}
    for a, b in within:
        row = told[uris[a], uris[b]]
        assert row["same_patient"]
        assert row["same_group"]
        assert row["first_part"] == row["second_part"] == split[a]
    across = [row["first_source"] != row["second_source"] for row in table.to_pylist()]
    assert across[:30] == sorted(across[:30], reverse=True)
    assert {tuple(sources[[a, b]]) for a, b in leaks} >= {("alder", "birch")}
    write_pairs(table, tmp_path)
    assert pq.read_table(tmp_path / PARQUET) == table
    with (tmp_path / CSV).open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["second_uri"] for row in rows] == table["second_uri"].to_pylist()
    assert [float(row["correlation"]) for row in rows] == pytest.approx(
        table["correlation"].to_pylist(), abs=1e-6
    )


def test_names_are_no_formulas_in_a_spreadsheet() -> None:
    names = ["=1+1", "+a", "-b", "@c", "plain, with a comma"]
    subject = clean_subject(10, label=names * 2, source=['a "quoted" one'] * 10)
    text = as_csv(pairs_of(subject, copies_of(10, [(0, 2), (1, 3), (4, 5)])))
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["first_label"] for row in rows} == {"'=1+1", "'+a", "plain, with a comma"}
    assert {row["second_label"] for row in rows} == {"'-b", "'@c", "'=1+1"}
    assert {row["first_source"] for row in rows} == {'a "quoted" one'}


def test_an_audit_writes_its_pairs_and_links_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = copies_of(IMAGES, [(0, 5), (7, 11)])
    monkeypatch.setattr(evidence, "find_near_copies", lambda *_, **__: copies)
    subject = clean_subject(IMAGES)
    report = run_audits(subject, tmp_path, cast("Any", SimpleNamespace()), quiet=True)
    assert report.near_copies == 2
    assert pq.read_table(tmp_path / PARQUET).num_rows == 2
    page = AuditPage(
        title="t", made_at=sample.content().made_at, is_phantom=False, images=IMAGES,
        audits=shown(report, {}, folder="audit/"), provenance=report.provenance,
    )  # fmt: skip
    assert 'All 2 pairs of near copies: <a href="audit/near_copies.csv">' in render_audit_page(
        page
    )
    # The next audit finds none, and leaves no old table.
    monkeypatch.setattr(evidence, "find_near_copies", lambda *_, **__: copies_of(IMAGES, []))
    again = run_audits(subject, tmp_path, cast("Any", SimpleNamespace()), quiet=True)
    assert again.near_copies is None
    assert not (tmp_path / CSV).exists()
    page = page.model_copy(update={"audits": shown(again, {})})
    assert "near_copies.csv" not in render_audit_page(page)
