"""Training processes without Spark: forked from a server that has imported torch already."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file, save_file
from torch._C._distributed_c10d import TCPStore

from pulmospark.core import machine
from pulmospark.models.zoo import networks
from pulmospark.training import rank
from pulmospark.training.loop import Epoch, Listener, fit
from pulmospark.training.rank import RankPlan, train_rank
from pulmospark.training.training_folder import START, TRAINED, TrainingFolder

_CONTEXT = multiprocessing.get_context("forkserver")
# The first step of an optimiser imports the compiler, which takes longest.
_CONTEXT.set_forkserver_preload(["pulmospark.training.rank", "torch._dynamo"])

_KILLING = """
import sys
sys.path.insert(0, {tests!r})
from training.processes import Kill, kill_itself
kill_itself(Kill(after={after}))
from pulmospark.training.rank import main
main()
"""


@dataclass(frozen=True)
class Kill:
    """When a training process kills itself: from outside it might be over before the kill came.

    Attributes:
        after: epochs that it does first.
        delay: seconds that it goes on then.
        latest: epochs after which it is killed in any case.
    """

    after: int = 1
    delay: float = 0.0
    latest: int = 6


def prepare(plan: RankPlan) -> None:
    """Write the start and the listings, as the driver does."""
    torch.manual_seed(5)
    state = networks.build(plan.model, len(plan.classes)).state_dict()
    plan.folder.mkdir(parents=True)
    save_file(state, plan.folder / START)
    rank.keep_listings(plan, TrainingFolder(plan.folder))


def run(plan: RankPlan, world: int = 1) -> dict[str, torch.Tensor]:
    """Train to the end, and give the weights."""
    for code in _ended(plan, world, None):
        assert code == 0, [path.read_text() for path in plan.folder.glob("*.error")]
    return weights(plan.folder)


def run_and_kill(plan: RankPlan, kill: Kill, world: int = 1) -> None:
    """Train until the last of the processes is killed, and the others have seen it."""
    codes = _ended(plan, world, kill)
    assert codes[-1] == -signal.SIGKILL
    assert not {0, None} & set(codes)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What a training has ended with."""
    return load_file(folder / TRAINED)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Whether all tensors are the same to the last bit."""
    return set(one) == set(two) and all(torch.equal(one[name], two[name]) for name in one)


def killing_itself(after: int) -> str:
    """A program that is a training process, killed after as many epochs."""
    return _KILLING.format(tests=str(Path(__file__).parents[1]), after=after)


def kill_itself(kill: Kill) -> None:
    """Have the training of this process end by its own hand."""
    # For good: this process does nothing else.
    mock.patch.object(rank, "fit", functools.partial(_fit, kill)).start()


def _fit(kill: Kill, *args: Any, listener: Listener, **options: Any) -> Any:
    return fit(*args, listener=_Killer(listener, kill), **options)


class _Killer(Listener):
    """Tells another listener, and kills this process when it is time."""

    def __init__(self, told: Listener, kill: Kill) -> None:
        self._told, self._kill, self._done = told, kill, 0

    def begins(self, history: Sequence[Epoch], steps: int) -> None:
        self._told.begins(history, steps)

    def step(self, epoch: int, done: int, loss: float, images_per_s: float) -> None:
        self._told.step(epoch, done, loss, images_per_s)

    def epoch(self, epoch: Epoch) -> None:
        self._told.epoch(epoch)
        self._done += 1
        if self._done >= (self._kill.latest if self._kill.delay else self._kill.after):
            _end()
        if self._done == self._kill.after:
            threading.Timer(self._kill.delay, _end).start()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _ended(plan: RankPlan, world: int, kill: Kill | None) -> list[int | None]:
    """Run the processes of a training, and give their exit codes; the last may be killed."""
    # The store is bound here, to whichever port is free: one that is only looked up beforehand
    # may be another's by the time that a process binds it.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    made: list[BaseProcess] = []
    for number in range(world):
        last = number == world - 1
        arguments = (plan.model_dump_json(), number, world, store.port, kill if last else None)
        made.append(_CONTEXT.Process(target=_train, args=arguments, daemon=True))
    for process in made:
        process.start()
    for process in made:
        process.join(120)
    return [process.exitcode for process in made]


def _train(plan_json: str, number: int, world: int, port: int, kill: Kill | None) -> None:
    os.environ |= {
        "RANK": str(number),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": str(True),  # torch's own name for a store that is there
        "GLOO_SOCKET_IFNAME": machine.loopback(),
    }
    if kill is not None:
        kill_itself(kill)
    train_rank(plan_json)
