"""A whole run in a store on executors that share nothing else, compared with one on a disk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import deltalake
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.small import CLASSES, write_pictures
from pulmospark.experiment.external import ExternalResult, evaluate_external
from pulmospark.store import store
from pulmospark.store.folders import put_files
from pulmospark.store.light_parts import whole_of
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from store.strangers import SKIPPED, STUDY, Strangers, command, driver_folder, strangers

pytestmark = [pytest.mark.spark, SKIPPED]

_EACH = 150
_TABLES = (
    "tables/images",
    "tables/rejects",
    "cohort/table",
    "training/scores",
    "evaluation/predictions",
)
_TOML = (
    STUDY
    + """[split]
train = 0.5
validation = 0.2
test = 0.3
[train]
model = "squeezenet1_1"
weights_path = "{weights}"
[evaluate]
replicates = 100
[audit]
replicates = 100
"""
)


@dataclass(frozen=True)
class _Inputs:
    """A sheet in a store and the images that its cells name, and their run on a disk."""

    bucket: StoreUri
    endpoint: str
    weights: Path
    disk: Path

    def experiment(self, folder: Path, out: object) -> Path:
        toml = folder / "small.toml"
        sheet = self.bucket / "in/study.csv"
        toml.write_text(_TOML.format(out=out, sheet=sheet, weights=self.weights))
        return toml


@pytest.fixture(scope="module")
def inputs(
    s3_endpoint: str, shared_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Inputs]:
    folder = tmp_path_factory.mktemp("inputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "of-a-test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-a-test")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
        patch.delenv("AWS_PROFILE", raising=False)
        boto3.client("s3").create_bucket(Bucket="runs-of-strangers")
        store._opened.cache_clear()
        bucket = StoreUri("s3", "runs-of-strangers", "")
        _put_pictures(folder / "pictures", bucket)
        made = _Inputs(bucket, s3_endpoint, shared_weights, folder / "runs/small")
        here = Strangers(driver_folder(folder), "local[2]", ())
        done = command(here, "run", str(made.experiment(folder, folder / "runs")))
        assert done.returncode == 0, done.stderr[-3000:]
        yield made
        store._opened.cache_clear()


def _put_pictures(folder: Path, bucket: StoreUri) -> None:
    write_pictures(folder, _EACH)
    put_files(folder, bucket / "in")
    lines = [
        f"{bucket}in/{path.relative_to(folder)},{path.parent.name},{path.stem[:3]}"
        for name in CLASSES
        for path in sorted((folder / name).iterdir())
    ]
    sheet = "\n".join(["path,label,patient_id", *lines])
    open_store(bucket).put("in/study.csv", sheet.encode())


@pytest.fixture
def cluster(inputs: _Inputs, tmp_path: Path) -> Iterator[Strangers]:
    del inputs  # its environment is the workers'
    with strangers(tmp_path) as started:
        yield started


def _stored(table: StoreUri, endpoint: str) -> pa.Table:
    if table.name == "scores":  # plain files
        opened = open_store(table)
        parts = [opened.get(part.uri.key) for part in opened.list(table.prefix)]
        return pa.concat_tables([pq.read_table(pa.BufferReader(part)) for part in parts])
    # Independent of our own code: options as deltalake's documentation has them.
    options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    return pa.table(deltalake.DeltaTable(str(table), storage_options=options).to_pyarrow_table())


def _check_equal(run: StoreUri, inputs: _Inputs) -> None:
    for table in _TABLES:
        here, there = pq.read_table(inputs.disk / table), _stored(run / table, inputs.endpoint)
        names = [name for name in here.column_names if name not in {"predicted_at", "model_id"}]
        order = [(name, "ascending") for name in ("uri", "model") if name in names]
        here = here.select(names).sort_by(order)
        assert here.num_rows > 0
        assert there.select(names).sort_by(order).cast(here.schema).equals(here), table
    audits = json.loads((inputs.disk / "audit/audit.json").read_text())["audits"]
    stored = json.loads(open_store(run).get((run / "audit/audit.json").key))["audits"]
    assert {a["name"]: a["verdict"] for a in stored} == {a["name"]: a["verdict"] for a in audits}
    assert {a["name"]: a["sentence"] for a in stored} == {a["name"]: a["sentence"] for a in audits}
    left = [each.uri.key for each in open_store(run).list(run.prefix)]
    assert not [key for key in left if "_work" in key]


def test_a_run_is_that_of_one_machine(cluster: Strangers, inputs: _Inputs) -> None:
    toml = inputs.experiment(cluster.driver, inputs.bucket / "runs")
    done = command(cluster, "run", str(toml))
    assert done.returncode == 0, done.stderr[-3000:]
    run = inputs.bucket / "runs/small"
    _check_equal(run, inputs)
    # No pixel is on the driver's disk, and none of the salt's bytes in the store.
    copies = list((cluster.driver / "cache").rglob("tables/images/*.parquet"))
    assert copies
    assert all(isinstance(whole_of(part), StoreUri) for part in copies)
    (salt,) = (cluster.driver / "cache").rglob("salt.key")
    secret = salt.read_bytes().strip()
    opened = open_store(run)
    assert not [o.uri.key for o in opened.list(run.prefix) if secret in opened.get(o.uri.key)]

    _check_external(cluster, inputs, run)

    # Run again after a change, rows that stay are named, not copied to the driver.
    sheet = (inputs.bucket / "in/study.csv").key
    lines = open_store(inputs.bucket).get(sheet).decode().splitlines()
    open_store(inputs.bucket).put("in/less.csv", "\n".join(lines[:-20]).encode())
    toml.write_text(toml.read_text().replace("study.csv", "less.csv"))
    done = command(cluster, "ingest", str(toml), "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    whole = pq.read_table(inputs.disk / "tables/images").sort_by("uri")
    kept = _stored(run / "tables/images", inputs.endpoint).sort_by("uri")
    assert 0 < kept.num_rows < whole.num_rows
    mask = [uri in set(kept["uri"].to_pylist()) for uri in whole["uri"].to_pylist()]
    expected = whole.filter(pa.array(mask))
    assert kept.select(whole.column_names).cast(expected.schema).equals(expected)
    assert '"already": 281' in done.stdout, done.stdout


def _check_external(cluster: Strangers, inputs: _Inputs, run: StoreUri) -> None:
    """A run is evaluated on images whose table is in the store, as on one disk."""
    expected = evaluate_external(
        inputs.disk / "bundle", inputs.disk / "tables", cluster.driver / "here", None, classes={}
    )
    assert expected.training_copies is not None
    assert expected.training_copies.exact > 0
    out = inputs.bucket / "validation"
    done = command(cluster, "evaluate", f"{run}/bundle", f"{run}/tables", "--out", str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    record = open_store(run).get((out / "external.json").key)
    result = ExternalResult.model_validate(json.loads(record)["result"])
    assert result.training_copies == expected.training_copies
    assert result.left_out == expected.left_out
    assert result.outside.confusion == expected.outside.confusion
    # Sums follow the order of the parts, and a machine may choose its precision by its times.
    known = expected.outside.log_loss.value
    assert result.outside.log_loss.value == pytest.approx(known, rel=0.1)
    metrics = _stored(out / "metrics", inputs.endpoint).to_pylist()
    (accuracy,) = [
        row for row in metrics if (row["subject"], row["metric"]) == ("model", "accuracy")
    ]
    assert accuracy["value"] == expected.outside.accuracy.value
    left = [each.uri.key for each in open_store(run).list(out.prefix)]
    assert not [key for key in left if "_work" in key]


def test_a_killed_worker_loses_nothing(cluster: Strangers, inputs: _Inputs) -> None:
    run = inputs.bucket / "killed/small"
    killed: list[str] = []
    logs = (run / "_work/.training.work/features/runs").prefix
    killer = threading.Thread(target=_kill_at, args=(run, logs, cluster.workers[0], killed))
    killer.start()
    done = command(
        cluster, "run", str(inputs.experiment(cluster.driver, inputs.bucket / "killed"))
    )
    killer.join()
    assert done.returncode == 0, done.stderr[-3000:]
    assert killed, "no worker was killed"
    _check_equal(run, inputs)


def _kill_at(run: StoreUri, prefix: str, pid: int, killed: list[str]) -> None:
    """SIGKILL a worker and all that it has started once tasks write logs below a prefix."""
    until = time.monotonic() + 400
    while time.monotonic() < until:
        found = [o.uri.key for o in open_store(run).list(prefix) if o.uri.key.endswith(".log")]
        if found:
            worker = psutil.Process(pid)
            for process in [worker, *worker.children(recursive=True)]:
                process.kill()
            killed += found
            return
        time.sleep(0.05)
