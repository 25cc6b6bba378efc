"""The audits of a subject as a table: one row per audit that there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pulmospark.audit import registry
from pulmospark.audit.results import AuditReport, AuditResult, NamedFigure
from pulmospark.core.result_schemas import AUDITS, ResultOf
from pulmospark.evaluation.long_form import UNITS

_PREFIX = "Not assessable: "
NOT_RUN = "not run"
"""in place of a verdict, of an audit that was skipped"""


def audits_table(
    report: AuditReport,
    result_of: ResultOf,
    *,
    bundle: str | None = None,
    predictions: str | None = None,
) -> pa.Table:
    """The results of all audits as a table; an audit that did not run has a row that says so.

    Args:
        report: the results.
        result_of: what they belong to.
        bundle: id of the model that audits ran; ``None``: there is none.
        predictions: id of the model whose predictions were audited; ``None``: there are none.

    Returns:
        ``core.result_schemas.AUDITS``, worst first, those that did not run last.
    """
    costly = {audit.name for audit in registry.AUDITS if audit.runs_model}
    known = {**result_of.columns(), "images": report.images, "audited_at": result_of.at}
    rows = [
        {**known, "model_id": bundle if row["audit"] in costly else predictions, **row}
        for row in (*map(_row, report.audits), *_not_run(report))
    ]
    return pa.Table.from_pylist(rows, schema=AUDITS)


def _row(audit: AuditResult) -> dict[str, Any]:
    measures = [_measure(figure) for figure in audit.figures]
    is_missing = audit.verdict == "not assessable"
    return {
        **(measures[0] if measures else {}),
        "measures": measures,
        "audit": audit.name,
        "title": audit.title,
        "verdict": audit.verdict,
        "sentence": audit.sentence,
        "not_assessable": audit.sentence.removeprefix(_PREFIX) if is_missing else None,
        "threshold": audit.threshold,
        "why": audit.why,
        "remedy": audit.remedy,
        "seconds": audit.seconds,
    }


def _measure(named: NamedFigure) -> dict[str, Any]:
    figure = named.figure
    return {
        "measure": named.name,
        "value": figure.value,
        "low": figure.low,
        "high": figure.high,
        "unit": UNITS[named.scale],
    }


def _not_run(report: AuditReport) -> Iterator[dict[str, Any]]:
    ran = {audit.name for audit in report.audits}
    for audit in registry.AUDITS:
        if audit.name in ran:
            continue
        skipped = audit.name in report.skipped
        why = "skipped by the setting audit.skip" if skipped else "it runs with --all only"
        yield {
            "audit": audit.name,
            "title": audit.title,
            "verdict": NOT_RUN,
            "sentence": f"Not run: {why}.",
            "not_assessable": f"{why}.",
            "measures": [],
            "threshold": "",
            "why": "",
            "remedy": "remove it from `audit.skip`" if skipped else "run `pulmospark audit --all`",
            "seconds": 0.0,
        }
