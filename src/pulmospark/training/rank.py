"""What each process of a distributed training does; started by TorchDistributor."""

from __future__ import annotations

import datetime
import json
import os
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file

from pulmospark.core import files, limits
from pulmospark.core.errors import PulmosparkError
from pulmospark.core.settings import NetworkSettings
from pulmospark.core.tables import Split
from pulmospark.data.cohort import Part
from pulmospark.models import zoo
from pulmospark.training.feed import load_films
from pulmospark.training.loop import Epoch, Ranks, fit


class RankPlan(BaseModel):
    """All that a training process needs to know; travels as JSON."""

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
    """where weights come from and go to, and where each process tells how it went"""


def train_rank(plan_json: str) -> None:
    """Train as one process of several; run by ``torchrun``, which sets RANK and WORLD_SIZE.

    The outcome is told through files, for Spark passes neither a worker's traceback on nor a
    failure of a rank whose elder had already ended: ``rank-<r>.done`` or ``rank-<r>.error``,
    which also tells where the cause lies with another process, whose line went dead.

    Args:
        plan_json: a :class:`RankPlan`.
    """
    plan = RankPlan.model_validate_json(plan_json)
    ranks = Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    try:
        _train(plan, ranks)
        files.write_text(plan.folder / f"rank-{ranks.rank}.done", "")
    except BaseException as error:
        message = error.message if isinstance(error, PulmosparkError) else _one_line(error)
        files.write_json(
            plan.folder / f"rank-{ranks.rank}.error",
            {
                "message": message,
                "detail": traceback.format_exc(),
                "peer_lost": _peer_lost(error),
            },
        )
        raise


def _train(plan: RankPlan, ranks: Ranks) -> None:
    torch.set_num_threads(plan.threads)
    torch.use_deterministic_algorithms(True)
    if ranks.world > 1:
        dist.init_process_group(
            "gloo", timeout=datetime.timedelta(seconds=limits.TRAINING_SILENCE_S_MAX)
        )
    network = zoo.build(plan.model, len(plan.classes))
    network.load_state_dict(load_file(plan.folder / "start.safetensors"))
    train, validation = (
        load_films(
            plan.images,
            plan.cohort,
            Part(name, plan.fold),
            plan.classes,
            size=plan.size,
            shard=ranks.rank,
            shards=ranks.world,
        )
        for name in (Split.TRAIN, Split.VALIDATION)
    )
    log = plan.folder / "epochs.jsonl"

    def tell(epoch: Epoch) -> None:
        if ranks.rank == 0:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(epoch.as_dict()) + "\n")

    fit(network, train, validation, plan.settings, seed=plan.seed, ranks=ranks, on_epoch=tell)
    if ranks.rank == 0:
        state = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(state, plan.folder / "trained.safetensors")
    if ranks.world > 1:
        dist.barrier()  # no process may end while another still talks to it
        dist.destroy_process_group()


def _one_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def _peer_lost(error: BaseException) -> bool:
    # Gloo raises a plain RuntimeError; its source's path in the message is what marks it.
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )
