"""A whole run in a store on executors that share nothing else, compared with one on a disk.

Both workers are real, in mount namespaces of their own: see :mod:`.strangers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.small import CLASSES, write_pictures
from pulmospark.store.folders import put_files
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from store.strangers import SKIPPED, Strangers, command, strangers

pytestmark = [pytest.mark.spark, SKIPPED]

_EACH = 150
_TOML = """
name = "small"
out = "{out}"
[[sources]]
path = "{sheet}"
[classes]
"COVID-19" = ["COVID-19"]
normal = ["normal"]
[ingest]
size = 64
[split]
train = 0.5
validation = 0.2
test = 0.3
[train]
model = "squeezenet1_1"
weights_path = "{weights}"
{train}
[evaluate]
replicates = 100
[audit]
replicates = 100
"""


@pytest.fixture
def inputs(bucket: StoreUri, tmp_path: Path) -> StoreUri:
    """A sheet in the store, and the images that its cells name."""
    pictures = write_pictures(tmp_path / "pictures", _EACH)
    put_files(pictures, bucket / "in")
    lines = [
        f"{bucket}in/{path.relative_to(pictures)},{path.parent.name},{path.stem[:3]}"
        for name in CLASSES
        for path in sorted((pictures / name).iterdir())
    ]
    sheet = "\n".join(["path,label,patient_id", *lines])
    open_store(bucket).put("in/study.csv", sheet.encode())
    return bucket / "in/study.csv"


def _experiment(
    folder: Path, out: object, sheet: StoreUri, weights: Path, train: str = ""
) -> Path:
    folder.mkdir(exist_ok=True)
    toml = folder / f"{'store' if isinstance(out, StoreUri) else 'disk'}.toml"
    toml.write_text(_TOML.format(out=out, sheet=sheet, weights=weights, train=train))
    return toml


@pytest.fixture
def cluster(bucket: StoreUri, tmp_path: Path) -> Iterator[Strangers]:
    del bucket  # its environment is the workers'
    with strangers(tmp_path) as cluster:
        yield cluster


def _stored(table: StoreUri, endpoint: str) -> pa.Table:
    if table.name == "scores":  # plain files
        parts = [
            open_store(table).get(each.uri.key) for each in open_store(table).list(table.prefix)
        ]
        return pa.concat_tables([pq.read_table(pa.BufferReader(part)) for part in parts])
    options = {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}
    found = deltalake.DeltaTable(str(table), storage_options=options)
    return pa.table(found.to_pyarrow_table())


def _check_equal(run: StoreUri, disk: Path, endpoint: str) -> None:
    for table in (
        "tables/images",
        "tables/rejects",
        "cohort/table",
        "training/scores",
        "evaluation/predictions",
    ):
        here = pq.read_table(disk / table)
        passing = {"predicted_at", "model_id"}
        names = [name for name in here.column_names if name not in passing]
        order = [(name, "ascending") for name in ("uri", "model") if name in names]
        there = _stored(run / table, endpoint)
        assert there.num_rows > 0
        assert (
            there.select(names)
            .sort_by(order)
            .cast(here.select(names).schema)
            .equals(here.select(names).sort_by(order))
        ), table


def test_a_run_is_that_of_one_machine(
    cluster: Strangers,
    inputs: StoreUri,
    bucket: StoreUri,
    s3_endpoint: str,
    shared_weights: Path,
    tmp_path: Path,
) -> None:
    toml = _experiment(cluster.driver / "x", bucket / "runs", inputs, shared_weights)
    done = command(cluster, "run", str(toml))
    assert done.returncode == 0, done.stderr[-3000:]
    disk = _experiment(tmp_path / "y", tmp_path / "runs", inputs, shared_weights)
    local = command(cluster, "run", str(disk), master="local[2]")
    assert local.returncode == 0, local.stderr[-3000:]
    _check_equal(bucket / "runs/small", tmp_path / "runs/small", s3_endpoint)
    left = [each.uri.key for each in open_store(bucket).list("runs/")]
    assert not [key for key in left if "_work" in key]
