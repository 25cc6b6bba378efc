"""The audit that the how-to adds, and what holds for all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pytest
from benchmarks.audit_images import clean_subject

from docs.pages import blocks
from pulmospark.audit import registry
from pulmospark.audit.results import AuditReport
from pulmospark.audit.run import run_audits
from pulmospark.audit.skip import check_skip
from pulmospark.audit.subject import ModelLeftOut, Subject
from pulmospark.config.audit import AuditSettings
from pulmospark.core.errors import UsageError
from pulmospark.report.audit import render_audit_page
from pulmospark.report.audit_content import AuditPage, shown
from report.outline import Outline

if TYPE_CHECKING:
    from pathlib import Path

NAME = "enlarged_images"


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> registry.Audit:
    """The audit of the how-to, registered alone: no other is needed, nor Spark."""
    (code,) = (b.text for b in blocks("python") if b.page.name == "new-audit.md")
    names: dict[str, Any] = {}
    exec(compile(code, "new-audit.md", "exec", dont_inherit=True), names)
    audit: registry.Audit = names["NEW"]
    monkeypatch.setattr(registry, "AUDITS", (audit,))
    return audit


def subject_of_sides(small: int, images: int = 60) -> Subject:
    """Images of which the first few have a side of 100 pixels."""
    subject = clean_subject(images)
    rows = subject.rows.num_rows
    sides = pa.array([100] * small + [512] * (rows - small), pa.int32())
    column = subject.rows.schema.get_field_index("width")
    return replace(subject, rows=subject.rows.set_column(column, "width", sides))


def audited(subject: Subject, folder: Path) -> AuditReport:
    return run_audits(subject, folder, cast("Any", None), quiet=True)


@pytest.mark.parametrize(("small", "verdict"), [(0, "pass"), (3, "pass"), (30, "warn")])
def test_the_audit_of_the_how_to_is_run_and_shown(
    added: registry.Audit, tmp_path: Path, small: int, verdict: str
) -> None:
    report = audited(subject_of_sides(small), tmp_path)
    (result,) = report.audits
    assert (result.name, result.title, result.verdict) == (added.name, added.title, verdict)
    (figure,) = result.figures
    assert (figure.figure.numerator, figure.figure.denominator) == (small, report.images)
    assert AuditReport.model_validate_json(report.model_dump_json()) == report
    page = AuditPage(
        title="small",
        made_at=datetime(2026, 1, 5, tzinfo=UTC),
        is_phantom=False,
        images=report.images,
        audits=shown(report, {}),
        provenance=report.provenance,
    )
    text = "".join(Outline(render_audit_page(page)).text)
    assert added.title in text
    assert result.sentence in text
    assert report.to_pandas().loc[NAME, "verdict"] == verdict


def test_it_is_skipped_by_its_name(added: registry.Audit, tmp_path: Path) -> None:
    subject = subject_of_sides(30)
    settings = subject.settings.model_copy(update={"skip": (NAME,)})
    report = audited(replace(subject, settings=settings), tmp_path)
    assert (report.audits, report.skipped) == ((), (NAME,))
    with pytest.raises(UsageError, match=r"no audit 'enlarged_image'.*did you mean.*enlarged"):
        check_skip(AuditSettings(skip=("enlarged_image",)))


def test_one_that_runs_the_model_waits_for_one(
    added: registry.Audit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry, "AUDITS", (replace(added, runs_model=True),))
    subject = subject_of_sides(30)
    report = audited(subject, tmp_path)
    assert (report.audits, report.costly_left_out) == ((), (NAME,))
    costly = subject.settings.model_copy(update={"costly": True})
    why = ModelLeftOut("the model is of another split", "`pulmospark train`")
    report = audited(replace(subject, settings=costly, model_left_out=why), tmp_path)
    assert report.audits[0].sentence == "Not assessable: the model is of another split."


def test_every_audit_has_a_name_of_its_own_and_results_bear_it() -> None:
    names = [audit.name for audit in registry.AUDITS]
    assert len(names) == len(set(names))
    check_skip(AuditSettings(skip=tuple(names)))
    subject = clean_subject(60)
    for audit in registry.AUDITS:
        if not audit.runs_model and "duplicates" not in audit.name:
            evidence = SimpleNamespace(
                subject=subject, tested=None, searches_copies=False, looks=_Looks(subject)
            )
            result = audit.run(cast("Any", evidence))
            assert (result.name, result.title) == (audit.name, audit.title)


class _Looks(dict[str, Any]):
    """The same grey levels, whichever are asked for."""

    def __init__(self, subject: Subject) -> None:
        self._numbers = subject.numbers("height")

    def __missing__(self, _: str) -> Any:
        return self._numbers
