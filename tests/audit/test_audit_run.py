"""Audits of a finished run and of a bare table, as a user starts them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from pulmospark.audit.run import run_audits
from pulmospark.audit.subject import subject_of
from pulmospark.cli.main import main
from pulmospark.config.audit import AuditSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.source import SourceSettings
from pulmospark.config.split import SplitSettings
from pulmospark.core.errors import UsageError
from pulmospark.data.cohort.table import read_cohort
from pulmospark.data.ingest.ingest import ingest
from pulmospark.experiment.audit import audit_run, read_audit
from pulmospark.experiment.pipeline import run_split
from pulmospark.experiment.run_folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from conftest import FinishedRun
    from pulmospark.phantoms.write import PhantomSummary

pytestmark = pytest.mark.spark


def test_a_run_is_audited_and_its_report_leads_with_the_verdicts(
    finished_run: FinishedRun,
) -> None:
    found = read_audit(finished_run.folder.audit)
    assert found == finished_run.result.audit
    verdicts = {audit.name: audit.verdict for audit in found.audits}
    # Phantoms are drawn anew for each patient, and age and sex tell nothing of the finding.
    for name in ("exact_duplicates", "near_duplicates", "label_conflict", "patients"):
        assert verdicts[name] == "pass"
    assert verdicts["class_by_sex"] == "pass"
    assert verdicts["support"] == "fail"  # 30 made-up patients are no claim
    page = finished_run.folder.report.read_text(encoding="utf-8")
    body = page[page.index("<main") :]
    verdicts_at, result_at = body.index('class="audited"'), body.index('class="headline"')
    assert verdicts_at < result_at < body.index('id="audits"')
    checks = [audit for audit in found.audits if audit.shortcut is not None]
    assert {"class_by_age", "class_by_sex"} <= {audit.name for audit in checks}
    for audit in checks:
        assert audit.shortcut is not None
        shown = audit.shortcut.distribution
        assert sum(map(sum, shown.counts)) + sum(shown.unknown) == found.images
    assert (finished_run.folder.audit / "audit.html").is_file()


def test_audits_are_skipped_by_name_and_only_by_theirs(
    finished_run: FinishedRun, spark: SparkSession, tmp_path: Path
) -> None:
    images = finished_run.folder.tables / "images"
    told = AuditSettings(skip=("near_duplicates", "no_such"))
    subject = subject_of(images, finished_run.folder.cohort, told, seed=1)
    with pytest.raises(UsageError, match="no_such"):
        run_audits(subject, tmp_path, spark, quiet=True)


@pytest.fixture(scope="module")
def planted(
    phantoms: PhantomSummary, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Tables of phantoms of one hospital and, as another source, cut copies of eight of them."""
    root = tmp_path_factory.mktemp("planted")
    first = phantoms.folder / phantoms.hospitals[0].name
    broken = {first / path for path in phantoms.hospitals[0].broken}
    kept = sorted(set((first / "images").iterdir()) - broken)[:8]
    (root / "other" / "normal").mkdir(parents=True)
    (root / "other" / "covid").mkdir(parents=True)
    for number, image in enumerate(kept):
        grey = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        height, width = grey.shape
        cut = grey[height // 25 : -height // 25, width // 25 : -width // 25]
        smaller = cv2.resize(np.asarray(cut), (299, 299), interpolation=cv2.INTER_AREA)
        name = ("normal", "covid")[number % 2]
        cv2.imwrite(str(root / "other" / name / f"{number}.jpg"), smaller)
    sources = [
        SourceSettings(path=first, layout="covid_chestxray"),
        SourceSettings(path=root / "other", layout="class_folders", name="other"),
    ]
    ingest(sources, IngestSettings(size=128), root / "tables", spark, quiet=True)
    return root / "tables"


def test_planted_copies_are_found_and_no_others(planted: Path, spark: SparkSession) -> None:
    # Drawn chests are more alike than people's: a pair has to fit better to be one picture.
    settings = AuditSettings(hash_distance=8, copy_correlation=0.93)
    subject = subject_of(planted / "images", None, settings, seed=1)
    found = run_audits(subject, planted.parent / "work", spark, quiet=True)
    audit = next(one for one in found.audits if one.name == "near_duplicates")
    assert audit.verdict == "fail"
    across = [
        example
        for example in audit.examples
        if len({image.source for image in example.images}) == 2
    ]
    assert len(across) == len(audit.examples) == 6
    assert "8 across patients" in audit.sentence


def test_copies_kept_together_leave_no_leak_when_audited_again(
    planted: Path, phantoms: PhantomSummary, spark: SparkSession, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(planted, run.tables)
    experiment = Experiment(
        name="run",
        out=tmp_path,
        phantoms=True,
        sources=(SourceSettings(path=phantoms.folder),),
        classes={"COVID-19": ("COVID-19", "covid"), "normal": ("No Finding", "normal")},
        split=SplitSettings(copies="together", train=0.5, validation=0.1, test=0.4),
        audit=AuditSettings(hash_distance=8, copy_correlation=0.93),
    )
    parted = run_split(experiment, run, spark, quiet=True)
    groups = {row["uri"]: row["group_id"] for row in read_cohort(run.cohort).to_pylist()}
    copies = [uri for uri in groups if "/other/" in uri]
    assert copies
    originals = {group for uri, group in groups.items() if "/other/" not in uri}
    assert sum(groups[uri] in originals for uri in copies) >= 4
    told = json.loads((run.cohort / "split.json").read_text(encoding="utf-8"))
    assert told["provenance"]["settings"]["copies"] == "together"
    found = {one.name: one for one in audit_run(experiment, run, spark, quiet=True).audits}
    leak = found["near_duplicates"].figures[0].figure
    assert leak.numerator == 0
    assert parted.images == len(groups)


def test_strict_ends_with_exit_code_5_after_the_page_is_written(
    planted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], spark: SparkSession
) -> None:
    del spark  # the command finds the active session
    tables = tmp_path / "tables"
    shutil.copytree(planted, tables)
    near = "audit.hash_distance=6"
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(tables), "--strict", "--json", "-q", "--set", near])
    assert ended.value.code == 5
    said = capfd.readouterr()
    assert "near_duplicates" in said.err
    told = json.loads(said.out)
    assert told == json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))
    page = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert "not a medical device" in page
    assert page.count("data:image/jpeg") >= 4
