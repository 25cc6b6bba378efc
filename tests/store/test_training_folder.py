"""A training whose processes share a store: started by its own task, without Spark."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pulmospark.chunks.carried import Carrier
from pulmospark.config.train import NetworkSettings
from pulmospark.core import files
from pulmospark.core.machine import cache_folder
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part
from pulmospark.store.failures import ObjectMissingError
from pulmospark.store.folders import put_files, upload
from pulmospark.store.store import open_store
from pulmospark.store.uri import StoreUri
from pulmospark.training import rank, training_folder
from pulmospark.training.checkpoint import read_tensors
from pulmospark.training.data_loader import open_feed
from pulmospark.training.dataset import list_images
from pulmospark.training.distributed import read_epochs
from pulmospark.training.launch import run_rank
from pulmospark.training.rank import RankPlan
from pulmospark.training.training_folder import (
    CHECKPOINT,
    DEAD,
    PLAN,
    START,
    TRAINED,
    StoredTrainingFolder,
    TrainingFolder,
    process_folder,
)
from store.watched import Watched
from training import processes
from training.toys import CLASSES, SIZE, toy_plan, write_toy

SETTINGS = NetworkSettings(
    epochs=3, batch_size=8, learning_rate=3e-3, precision="fp32", trainable=1
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")


def _put(plan: RankPlan, address: StoreUri) -> StoredTrainingFolder:
    """What the driver does before the processes are started."""
    shared = StoredTrainingFolder(plan.folder, address, Carrier(address.parent / "carried"))
    shared.begin()
    rank.keep_listings(plan, shared)
    files.write_text(plan.folder / PLAN, plan.model_dump_json())
    shared.put()
    return shared


def _kept(folder: Path, **changes: object) -> RankPlan:
    plan = toy_plan(folder, settings=SETTINGS, run_id="one").model_copy(update=changes)
    processes.prepare(plan)
    return plan


@pytest.mark.parametrize("frozen", [False, True])
def test_weights_are_those_of_a_folder(tmp_path: Path, bucket: StoreUri, frozen: bool) -> None:
    plan = _kept(tmp_path, frozen_outputs=tmp_path / "outputs" if frozen else None)
    weights = processes.run(plan)

    address = bucket / "run/final"
    outputs = bucket / "run/outputs" if frozen else None
    stored = plan.model_copy(update={"folder": tmp_path / "stored", "frozen_outputs": outputs})
    processes.prepare(stored)
    shared = _put(stored, address)
    shutil.rmtree(stored.images)  # processes elsewhere do not see the driver's table
    run_rank({}, shared.plan, {}, None)
    assert not list((cache_folder() / "trainings").iterdir())
    shared.end()
    assert processes.same(processes.weights(stored.folder), weights)
    assert len(read_epochs(stored.folder)) == SETTINGS.epochs
    assert (stored.folder / "rank-0.done").is_file()
    kept = [found.uri.name for found in open_store(bucket).list("run/outputs/")]
    here = [path.name for path in (tmp_path / "outputs").rglob("*.npy")]
    assert sorted(kept) == sorted(here)
    assert bool(kept) == frozen


def test_outputs_of_frozen_stages_are_those_that_another_training_put(
    tmp_path: Path, bucket: StoreUri
) -> None:
    ends, times = [], []
    for fold in ("one", "two"):
        plan = _kept(tmp_path / fold, frozen_outputs=bucket / "outputs")
        shared = _put(plan, bucket / fold)
        run_rank({}, shared.plan, {}, None)
        shared.end()
        ends.append(processes.weights(plan.folder))
        times.append({o.uri: o.modified_ns for o in open_store(bucket).list("outputs/")})
        assert times[-1]
        # A server's time is of seconds.
        time.sleep(1.1)
    assert times[0] == times[1]
    assert processes.same(*ends)


def test_a_killed_training_goes_on_from_another_machine(tmp_path: Path, bucket: StoreUri) -> None:
    plan = _kept(tmp_path / "undisturbed")
    weights = processes.run(plan)

    address = bucket / "final"
    first = _kept(tmp_path / "first")
    shared = _put(first, address)
    with process_folder(shared.plan, "0") as task:
        # Not forked from the server, which does not have the store's keys.
        command = [sys.executable, "-c", processes.killing_itself(1), str(task.folder / PLAN)]
        killed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert (task.folder / CHECKPOINT).is_file()

    second = _kept(tmp_path / "second")
    shared = _put(second, address)
    assert (second.folder / CHECKPOINT).is_file()
    run_rank({}, shared.plan, {}, None)
    shared.end()
    assert processes.same(processes.weights(second.folder), weights)
    status = files.read_json(second.folder / "standing.json")
    steps = files.read_json(plan.folder / "standing.json")["total"] // 3
    assert status["total"] == 2 * steps  # the first epoch was not repeated


def test_a_failed_process_tells_the_driver_why(tmp_path: Path, bucket: StoreUri) -> None:
    plan = _kept(tmp_path)
    shared = _put(plan, bucket / "final")
    (plan.folder / START).write_bytes(b"no weights")
    shared.put()
    with pytest.raises(RuntimeError, match="training process 0 ended with 1"):
        run_rank({}, shared.plan, {}, None)
    shared.end()
    assert "Error" in files.read_json(plan.folder / "rank-0.error")["message"]
    assert files.read_json(plan.folder / f"rank-0.{DEAD}")["code"] == 1
    assert not (plan.folder / TRAINED).exists()

    # Neither the next training nor a second attempt of the task finds these.
    with process_folder(shared.plan, "0"):
        names = [found.uri.name for found in open_store(bucket).list("final/rank-")]
        assert names == []
    shared.begin()
    assert not list(plan.folder.glob("rank-*"))


def test_progress_is_brought_while_the_process_runs(tmp_path: Path, bucket: StoreUri) -> None:
    plan = _kept(tmp_path)
    shared = _put(plan, bucket / "final")
    with process_folder(shared.plan, "0") as task:
        files.write_json(task.folder / "standing.json", {"done": 1, "total": 9, "note": "one"})
        task.put()
        shared.look()
        assert files.read_json(plan.folder / "standing.json")["done"] == 1
    assert read_tensors(plan.folder / TRAINED, "one") is None


def test_a_checkpoint_that_goes_while_it_is_put_ends_nothing(
    tmp_path: Path, bucket: StoreUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _kept(tmp_path)
    shared = _put(plan, bucket / "final")
    with process_folder(shared.plan, "0") as task:
        for name in (CHECKPOINT, TRAINED, "rank-0.done"):
            (task.folder / name).write_bytes(b"1")

        def late(*arguments: Any) -> Any:
            (task.folder / CHECKPOINT).unlink(missing_ok=True)  # as the process does at its end
            return upload(*arguments)

        monkeypatch.setattr(training_folder, "upload", late)
        task.put()
        assert "rank-0.done" not in _names(bucket), "it says that all else is there"
        task.put()
        assert {TRAINED, "rank-0.done"} < set(_names(bucket))


def _names(bucket: StoreUri) -> list[str]:
    return [found.uri.name for found in open_store(bucket).list("final/")]


def test_pieces_in_a_store_are_read_together_and_known_once(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulmospark.core.store_limits.WHOLE_BYTES_MAX", 0)
    images, cohort = write_toy(tmp_path)
    (here,) = list_images(images, cohort, [Part(Split.TRAIN)], CLASSES, size=SIZE)
    address = StoreUri("s3", "hospital", f"{uuid.uuid4().hex}/images")
    put_files(images, address)
    pieces = [replace(piece, path=address / Path(str(piece.path)).name) for piece in here.pieces]
    there = replace(here, pieces=tuple(pieces))
    assert len(pieces) == 4
    watched.delay_s = 0.1

    def check(bytes_max: int) -> list[str]:
        watched.requests.clear()
        batches = [list(open_feed(each, bytes_max=bytes_max).once(8)) for each in (here, there)]
        for one, other in zip(*batches, strict=True):
            assert (one.pixels == other.pixels).all()
            assert one.keys == other.keys
        return sorted(what.partition(" ")[0] for *_, what in watched.requests)

    assert check(10**9) == ["GET"] * (2 + 4) + ["HEAD"] * 2  # two footers, and four row groups
    assert check(0) == ["GET"] * 4
    assert watched.most_under_way() == 4


def test_a_part_that_is_gone_is_named(watched: Watched, tmp_path: Path) -> None:
    images, cohort = write_toy(tmp_path)
    (here,) = list_images(images, cohort, [Part(Split.TRAIN)], CLASSES, size=SIZE)
    address = StoreUri("s3", "hospital", f"{uuid.uuid4().hex}/gone")
    pieces = tuple(replace(piece, path=address / "part.parquet") for piece in here.pieces)
    with pytest.raises(ObjectMissingError, match=r"gone/part.parquet: no such object"):
        open_feed(replace(here, pieces=pieces))


def test_a_folder_that_all_see_is_used_as_it_is(tmp_path: Path) -> None:
    shared = TrainingFolder(tmp_path)
    (tmp_path / "rank-0.done").touch()
    (tmp_path / CHECKPOINT).touch()
    shared.begin()
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
    with process_folder(shared.plan, "0") as task:
        assert task.folder == tmp_path
        assert task.put_s is None
    assert tmp_path.is_dir()
