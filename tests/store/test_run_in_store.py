"""A whole run whose folder is in a store, compared with the same run on a disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

import pulmospark as ps
from pulmospark.cli.main import cli
from pulmospark.config.experiment import Experiment
from pulmospark.core import mirror_limits
from pulmospark.core.machine import cache_folder
from pulmospark.experiment.pipeline import run_all, run_ingest, run_train
from pulmospark.experiment.run_folder import RunFolder, open_experiment, run_folder
from pulmospark.experiment.run_result import RunResult
from pulmospark.models.bundle.bundle import read_bundle
from pulmospark.store import store
from pulmospark.store.mirror import MIRRORS
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri

if TYPE_CHECKING:
    from conftest import FinishedRun

pytestmark = pytest.mark.spark

SECRETS = {"AWS_ACCESS_KEY_ID": "key-of-a-test", "AWS_SECRET_ACCESS_KEY": "secret-of-a-test"}


@dataclass(frozen=True)
class StoredRun:
    """A run in a store, ingested by one machine and gone on with by another."""

    address: StoreUri
    experiment: Experiment
    result: RunResult
    local: RunFolder
    """the run on a disk with the same settings"""


@pytest.fixture(scope="module")
def stored_run(
    finished_run: FinishedRun,
    spark: SparkSession,
    s3_endpoint: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StoredRun]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
        boto3.client("s3").create_bucket(Bucket="whole-runs")
        store._opened.cache_clear()
        out = StoreUri("s3", "whole-runs", "runs")
        experiment = finished_run.experiment.model_copy(update={"out": out})
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("one")))
        run_ingest(experiment, run_folder(experiment), spark, quiet=True)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("two")))
        result = run_all(experiment, run_folder(experiment), spark, quiet=True)
        yield StoredRun(out / experiment.name, experiment, result, finished_run.folder)
        store._opened.cache_clear()


@pytest.fixture
def third_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "three"))
    return tmp_path / "three/pulmospark"


def _rows(table: StoreUri, endpoint: str) -> pa.Table:
    # Independent of our own code: options as deltalake's documentation has them.
    options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    opened = deltalake.DeltaTable(str(table), storage_options=options)
    return pa.table(opened.to_pyarrow_table())


@pytest.mark.parametrize(
    "table", ["tables/images", "tables/rejects", "cohort/table", "evaluation/predictions"]
)
def test_tables_are_those_of_a_local_run(
    table: str, stored_run: StoredRun, s3_endpoint: str
) -> None:
    passing = {"predicted_at", "model_id"}
    stored = _rows(stored_run.address / table, s3_endpoint)
    local = pq.read_table(stored_run.local.root / table)
    names = [name for name in local.schema.names if name not in passing]
    stored, local = (rows.select(names).sort_by("uri") for rows in (stored, local))
    assert stored.num_rows > 0
    assert stored.cast(local.schema).equals(local)


def test_the_second_machine_reads_no_image_again(stored_run: StoredRun) -> None:
    ingested = stored_run.result.ingest
    assert ingested.already == ingested.files


def test_its_files_are_there_by_their_names(stored_run: StoredRun) -> None:
    keys = {found.uri.key for found in open_store(stored_run.address).list()}
    below = {key.removeprefix(f"{stored_run.address.key}/") for key in keys}
    assert {"report.html", "experiment.json", "bundle/config.json", "audit/audit.json"} < below
    assert not [key for key in below if key.endswith(("salt.key", ".lock")) or ".work" in key]
    bundle = read_bundle(stored_run.address)
    assert bundle.model_sha256 == read_bundle(stored_run.local.bundle).model_sha256
    page = open_store(stored_run.address).get((stored_run.address / "report.html").key).decode()
    assert f"pulmospark run {stored_run.address}" in page


def test_no_credential_is_in_a_file_of_the_run(stored_run: StoredRun) -> None:
    copies = cache_folder() / MIRRORS
    contents = [path.read_bytes() for path in copies.rglob("*") if path.is_file()]
    opened = open_store(stored_run.address)
    contents += [opened.get(found.uri.key) for found in opened.list()]
    assert len(contents) > 100
    for secret in SECRETS.values():
        assert not any(secret.encode() in content for content in contents)


def test_another_machine_reports_and_opens_the_run(
    stored_run: StoredRun, third_machine: Path
) -> None:
    done = CliRunner().invoke(cli, ["report", str(stored_run.address)])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == f"report: {stored_run.address}/report.html"
    run = ps.open_run(str(stored_run.address))
    assert run.metrics.equals(ps.open_run(stored_run.local.root).metrics)
    assert run.folder.is_relative_to(third_machine)
    done = CliRunner().invoke(cli, ["audit", f"{stored_run.address}/bundle"])
    assert "images" in str(done.exception)


def _copied(run: StoredRun, name: str) -> StoreUri:
    """A copy of the run, made object by object: addresses of its own are nowhere in it."""
    client = boto3.client("s3")
    address = run.address.parent / name
    for stored in open_store(address).list(run.address.prefix):
        key = stored.uri.key.replace(run.address.prefix, address.prefix, 1)
        client.copy({"Bucket": address.bucket, "Key": stored.uri.key}, address.bucket, key)
    return address


def test_training_reads_pixels_by_ranges_where_the_table_is_large(
    stored_run: StoredRun, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "four"))
    for name in (*SECRETS, "AWS_REGION", "AWS_ENDPOINT_URL"):  # the session began without them
        monkeypatch.setitem(spark.sparkContext.environment, name, os.environ[name])
    monkeypatch.setattr(mirror_limits, "COPIED_TABLE_BYTES_MAX", 10_000)
    address = _copied(stored_run, "large")
    experiment, run = open_experiment(address, {})
    assert "pixels" not in pq.read_table(run.tables / "images").column_names
    run_train(experiment, run, spark, quiet=True)
    order = [("uri", "ascending"), ("model", "ascending")]
    scores, local = (
        pq.read_table(folder.training / "scores").sort_by(order)
        for folder in (run, stored_run.local)
    )
    assert scores.equals(local)
    assert "pixels" not in pq.read_table(run.tables / "images").column_names


def test_split_again_by_another_machine_is_published(
    stored_run: StoredRun, third_machine: Path, s3_endpoint: str
) -> None:
    address = _copied(stored_run, "again")
    line = ["split", str(address), "--set", "seed=7", "--engine", "local", "--json", "-q"]
    done = CliRunner().invoke(cli, line)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["cohort"] == f"{address}/cohort"
    before = _rows(stored_run.address / "cohort/table", s3_endpoint).sort_by("uri")
    after = _rows(address / "cohort/table", s3_endpoint).sort_by("uri")
    assert before["fold"] != after["fold"]
    experiment = json.loads(open_store(address).get((address / "experiment.json").key))
    assert experiment["seed"] == 7
    shutil.rmtree(third_machine)
    line = ["evaluate", str(address)]
    done = CliRunner().invoke(cli, line)
    assert str(done.exception).startswith(f"{address}/"), done.output
