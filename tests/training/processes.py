"""Training processes without Spark: forked from a server that has imported torch already."""

from __future__ import annotations

import multiprocessing
import os
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from pulmospark.models import zoo
from pulmospark.training.rank import START, TRAINED, RankPlan, train_rank

_CONTEXT = multiprocessing.get_context("forkserver")
# The first step of an optimiser imports the compiler, which takes longest.
_CONTEXT.set_forkserver_preload(["pulmospark.training.rank", "torch._dynamo"])


def prepare(plan: RankPlan) -> None:
    """Write the start, as the driver does."""
    torch.manual_seed(5)
    state = zoo.build(plan.model, len(plan.classes)).state_dict()
    plan.folder.mkdir(parents=True)
    save_file(state, plan.folder / START)


def start(plan: RankPlan, world: int = 1) -> list[BaseProcess]:
    """Start the processes of a training."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    made: list[BaseProcess] = []
    for rank in range(world):
        arguments = (plan.model_dump_json(), rank, world, port)
        made.append(_CONTEXT.Process(target=_train, args=arguments, daemon=True))
    for process in made:
        process.start()
    return made


def run(plan: RankPlan, world: int = 1) -> dict[str, torch.Tensor]:
    """Train to the end, and give the weights."""
    for process in start(plan, world):
        process.join(120)
        assert process.exitcode == 0, [p.read_text() for p in plan.folder.glob("*.error")]
    return weights(plan.folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What a training has ended with."""
    return load_file(folder / TRAINED)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Whether all tensors are the same to the last bit."""
    return set(one) == set(two) and all(torch.equal(one[name], two[name]) for name in one)


def _train(plan_json: str, rank: int, world: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    train_rank(plan_json)
