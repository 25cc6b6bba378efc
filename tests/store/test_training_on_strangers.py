"""Expansion and a network's training on executors that share a store, compared with a disk."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import deltalake
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.small import CLASSES, write_pictures
from pulmospark.store.folders import fetch_folder, put_files
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from pulmospark.training.training_folder import CHECKPOINT
from store.strangers import SKIPPED, STUDY, Strangers, command, strangers

pytestmark = [pytest.mark.spark, SKIPPED]

_EACH = 40
_TOML = (
    STUDY
    + """[split]
train = 0.5
validation = 0.25
test = 0.25
[expand]
per_class = 40
[train]
method = "network"
model = "squeezenet1_1"
weights_path = "{weights}"
processes = 2
expanded = true
[train.network]
epochs = 4
batch_size = 8
trainable = 1
[evaluate]
replicates = 100
[audit]
enabled = false
"""
)


@pytest.fixture
def cluster(bucket: StoreUri, tmp_path: Path) -> Iterator[Strangers]:
    """A cluster, and in the store a sheet with the images that its cells name."""
    folder = tmp_path / "pictures"
    write_pictures(folder, _EACH)
    put_files(folder, bucket / "in")
    lines = [
        f"{bucket}in/{name}/{path.name},{name},{path.stem[:3]}"
        for name in CLASSES
        for path in sorted((folder / name).glob("*.png"))
    ]
    sheet = "\n".join(["path,label,patient_id", *lines])
    open_store(bucket).put("in/study.csv", sheet.encode())
    with strangers(tmp_path) as started:
        yield started


def _experiment(out: object, toml: Path, bucket: StoreUri, weights: Path) -> str:
    toml.write_text(_TOML.format(out=out, sheet=f"{bucket}in/study.csv", weights=weights))
    return str(toml)


def _bundle_of(run: StoreUri) -> Path:
    return fetch_folder(run / "bundle", files_max=30, bytes_max=2**27)


def _check_equal_models(one: Path, other: Path) -> None:
    names = {path.name for path in one.glob("*.safetensors")}
    assert names
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def _history(training: bytes) -> list[dict[str, object]]:
    (model,) = json.loads(training)["result"]["models"]
    timed = {"seconds", "images_per_s"}
    return [
        {name: value for name, value in epoch.items() if name not in timed}
        for epoch in model["history"]
    ]


def _kill_in_training(cluster: Strangers, killed: list[Path]) -> None:
    """SIGKILL the first process of a training once it has left a checkpoint."""
    workers = [psutil.Process(pid) for pid in cluster.workers]
    until = time.monotonic() + 400
    while time.monotonic() < until and not killed:
        for process in (child for w in workers for child in w.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                if "pulmospark.training.rank" not in (words := process.cmdline()):
                    continue
                checkpoint = Path(words[-1]).with_name(CHECKPOINT)
                while process.is_running() and not checkpoint.is_file():
                    if process.environ()["RANK"] != "0":
                        break
                    time.sleep(0.005)
                if checkpoint.is_file():
                    process.kill()
                    killed.append(checkpoint)
                    return
        time.sleep(0.05)


def test_expansion_and_network_are_those_of_one_machine(
    cluster: Strangers, bucket: StoreUri, s3_endpoint: str, shared_weights: Path, tmp_path: Path
) -> None:
    here, run = tmp_path / "runs/small", bucket / "runs/small"
    disk = _experiment(tmp_path / "runs", tmp_path / "disk.toml", bucket, shared_weights)
    done = command(cluster, "run", disk, master="local[2]")
    assert done.returncode == 0, done.stderr[-3000:]
    stored = _experiment(bucket / "runs", tmp_path / "store.toml", bucket, shared_weights)
    killed: list[Path] = []
    killer = threading.Thread(target=_kill_in_training, args=(cluster, killed))
    killer.start()
    done = command(cluster, "run", stored)
    killer.join()
    assert killed, "no process was killed"
    assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr[-3000:]
    assert "training process 0 of 2 exited without an error message (SIGKILL)" in done.stderr
    done = command(cluster, "train", stored)
    assert done.returncode == 0, done.stderr[-3000:]

    # Independent of our own code: options as deltalake's documentation has them.
    options = {"AWS_ENDPOINT_URL": s3_endpoint, "AWS_ALLOW_HTTP": "true"}
    table = deltalake.DeltaTable(str(run / "expanded/table"), storage_options=options)
    expected = pq.read_table(here / "expanded/table").sort_by("uri")
    found = pa.table(table.to_pyarrow_table()).select(expected.column_names).sort_by("uri")
    assert expected.num_rows == 2 * 40
    assert found.cast(expected.schema).equals(expected)

    _check_equal_models(here / "bundle", _bundle_of(run))
    training = open_store(run).get((run / "training/training.json").key)
    assert _history(training) == _history((here / "training/training.json").read_bytes())
    assert len(_history(training)) == 4
    left = [each.uri.key for each in open_store(run).list(run.prefix)]
    assert not [key for key in left if "_work" in key]
