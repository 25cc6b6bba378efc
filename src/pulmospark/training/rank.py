"""A process of a distributed training run: ``python -m pulmospark.training.rank``."""

from __future__ import annotations

import datetime
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from pydantic import ConfigDict
from safetensors.torch import load_file

from pulmospark.config.augment import AugmentSettings
from pulmospark.config.train import NetworkSettings
from pulmospark.core import files, limits
from pulmospark.core.arrow_start import spare_pandas
from pulmospark.core.errors import PulmosparkError
from pulmospark.core.records import Record
from pulmospark.core.schemas import Split
from pulmospark.core.store_uri import PlacePath
from pulmospark.data.cohort.table import Part
from pulmospark.models.zoo import networks
from pulmospark.training.checkpoint import Checkpoint, write_tensors
from pulmospark.training.data_loader import Augment, open_feed
from pulmospark.training.dataset import Listing, list_images
from pulmospark.training.device import device_of, make_repeatable
from pulmospark.training.eager_torch import run_eagerly
from pulmospark.training.frozen_outputs import OutputsFolder, keep_outputs
from pulmospark.training.loop import Epoch, Listener, fit
from pulmospark.training.mapped_listing import keep_listing, kept_listing
from pulmospark.training.process_group import Ranks
from pulmospark.training.training_folder import (
    CHECKPOINT,
    EPOCHS,
    LISTINGS,
    STANDING,
    START,
    TRAINED,
    TrainingFolder,
)

_PARENT_POLL_S = 0.5


class RankPlan(Record):
    """All parameters of a training process, serialised as JSON."""

    model_config = ConfigDict(frozen=True)

    model: str
    classes: tuple[str, ...]
    images: Path
    cohort: Path
    fold: int | None
    size: int
    settings: NetworkSettings
    seed: int
    threads: int
    folder: Path
    """folder of weights and of the status files of each process"""
    run_id: str = ""
    """content id of the training run; checkpoints of another run are ignored"""
    device: Literal["cpu", "cuda"] = "cpu"
    feed_bytes: int = limits.FEED_BYTES_MAX
    """bytes of pixels of a split that a process may hold"""
    augment: AugmentSettings | None = None
    """random augmentation of training images in each epoch; ``None``: none"""
    training_images: Path | None = None
    """images table of the training set; ``None``: ``images``"""
    training_cohort: Path | None = None
    """cohort of the training set; ``None``: ``cohort``"""
    mean: tuple[float, ...] | None = None
    """mean of each channel for the input standardisation; ``None``: the zoo's"""
    std: tuple[float, ...] | None = None
    """standard deviation of each channel; ``None``: the zoo's"""
    frozen_outputs: PlacePath | None = None
    """folder for the outputs of frozen stages, or its address where processes share only a store;
    ``None``: computed in each epoch"""


def train_rank(plan_json: str) -> None:
    """Train as one of several processes; RANK, WORLD_SIZE etc. are in the environment.

    The outcome is reported through files, because Spark does not forward a worker's traceback,
    nor the failure of a rank after a lower rank has ended: ``rank-<r>.done`` or
    ``rank-<r>.error``, which also says whether the connection to another process was lost.

    Args:
        plan_json: a :class:`RankPlan`.
    """
    plan = RankPlan.model_validate_json(plan_json)
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        _train(plan, Ranks(rank, world, device_of(plan.device, rank)))
        files.write_text(plan.folder / f"rank-{rank}.done", "")
    except BaseException as error:
        message = error.message if isinstance(error, PulmosparkError) else _one_line(error)
        files.write_json(
            plan.folder / f"rank-{rank}.error",
            {
                "message": message,
                "detail": traceback.format_exc(),
                "peer_lost": _peer_lost(error),
            },
        )
        raise


def _train(plan: RankPlan, ranks: Ranks) -> None:
    torch.set_num_threads(plan.threads)
    make_repeatable(ranks.device)
    if ranks.world > 1:
        dist.init_process_group(
            "nccl" if ranks.device.type == "cuda" else "gloo",
            timeout=datetime.timedelta(seconds=limits.TRAINING_SILENCE_S_MAX),
        )
    run_eagerly()
    network = networks.build(plan.model, len(plan.classes), mean=plan.mean, std=plan.std)
    network.load_state_dict(load_file(plan.folder / START))
    network.to(ranks.device)
    kept = [kept_listing(plan.folder / name) for name in LISTINGS]
    frozen = None
    if plan.frozen_outputs is not None:
        outputs = OutputsFolder.of(plan.frozen_outputs, here=plan.folder)
        frozen = keep_outputs(network, plan.settings, kept, outputs, ranks)
    train, validation = (
        open_feed(listing, rank=ranks.rank, world=ranks.world, bytes_max=plan.feed_bytes)
        for listing in kept
    )
    checkpoint = Checkpoint(plan.folder / CHECKPOINT, plan.run_id)
    listener = _FileReporter(plan) if ranks.rank == 0 else Listener()
    history = fit(
        network,
        train,
        validation,
        plan.settings,
        seed=plan.seed,
        ranks=ranks,
        augment=_augment(plan),
        frozen=frozen,
        checkpoint=checkpoint,
        listener=listener,
    )
    if ranks.rank == 0:
        epochs = [epoch.as_dict() for epoch in history]
        write_tensors(plan.folder / TRAINED, plan.run_id, network.state_dict(), epochs)
        checkpoint.path.unlink(missing_ok=True)
    if ranks.world > 1:
        dist.barrier()  # no process may end while another still communicates with it
        dist.destroy_process_group()


def _augment(plan: RankPlan) -> Augment | None:
    if plan.augment is None:
        return None
    from pulmospark.augment.augmenter import Augmenter  # noqa: PLC0415 - imports SciPy

    return Augmenter(plan.augment, plan.seed).augment_batch


def listings(plan: RankPlan) -> list[Listing]:
    """The training and validation images; for the driver.

    Raises:
        InputError: an images table lacks images of the cohort.
    """
    train, validation = Part(Split.TRAIN, plan.fold), Part(Split.VALIDATION, plan.fold)
    tables = [(plan.images, plan.cohort, [train, validation])]
    if plan.training_images is not None:
        cohort = plan.training_cohort or plan.cohort
        tables = [
            (plan.training_images, cohort, [train]),
            (plan.images, plan.cohort, [validation]),
        ]
    return [
        listing
        for images, cohort, parts in tables
        for listing in list_images(images, cohort, parts, plan.classes, size=plan.size)
    ]


def keep_listings(plan: RankPlan, shared: TrainingFolder) -> list[Listing]:
    """Write the listings of the processes into the training folder; for the driver.

    Args:
        plan: of the processes.
        shared: the training folder, which knows where they find the images.

    Raises:
        InputError: an images table lacks images of the cohort.
    """
    shares = listings(plan)
    for name, listing in zip(LISTINGS, shares, strict=True):
        keep_listing(listing, plan.folder / name, shared.part)
    return shares


class _FileReporter(Listener):
    """Reports to the driver through files."""

    def __init__(self, plan: RankPlan) -> None:
        self._plan, self._steps, self._before = plan, 0, 0

    def begins(self, history: Sequence[Epoch], steps: int) -> None:
        self._steps, self._before = steps, len(history)
        lines = [json.dumps(epoch.as_dict()) + "\n" for epoch in history]
        files.write_text(self._plan.folder / EPOCHS, "".join(lines))

    def step(self, epoch: int, done: int, loss: float, images_per_s: float) -> None:
        self._stand(epoch, done, loss, images_per_s)

    def epoch(self, epoch: Epoch) -> None:
        with (self._plan.folder / EPOCHS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(epoch.as_dict()) + "\n")
        # Short epochs end between two reported steps.
        self._stand(epoch.epoch, self._steps, epoch.loss, epoch.images_per_s)

    def _stand(self, epoch: int, done: int, loss: float, images_per_s: float) -> None:
        # Counted from the start of this run: earlier epochs must not affect its speed.
        epochs = self._plan.settings.epochs
        value: dict[str, Any] = {
            "done": (epoch - 1 - self._before) * self._steps + done,
            "total": (epochs - self._before) * self._steps,
            "note": f"epoch {epoch} of {epochs}, loss {loss:.3f}, {images_per_s:.0f} images/s",
        }
        files.write_json(self._plan.folder / STANDING, value)


def _one_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def _peer_lost(error: BaseException) -> bool:
    # Gloo raises a plain RuntimeError; its source's path in the message is what marks it.
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )


def _end_with_parent() -> None:
    """Exit when the Spark worker that started this process has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def main() -> None:
    """Train according to the plan file in the first argument."""
    _end_with_parent()
    spare_pandas()
    file = Path(sys.argv[1])
    plan = RankPlan.model_validate_json(file.read_text(encoding="utf-8"))
    # The driver's folder, or this process's copy of it.
    train_rank(plan.model_copy(update={"folder": file.parent}).model_dump_json())


if __name__ == "__main__":
    main()
