"""Checkpoints: all that a training needs to go on after an epoch, in one file.

A safetensors file with its figures as JSON in the header. It appears whole or not at all, and
one of another training, or a damaged one, counts as none. Random numbers are functions of
seed, process and epoch, and so are not kept. Nor is what the training does not change: frozen
weights and their statistics are those of the start, which lies beside it. So its size is that
of what is trained: 4 bytes a number for the weights, as many for each moment, and as many for
the best epoch's weights where that is not the last one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pulmospark.core.files import disk_errors, whole_file

Tensors = dict[str, torch.Tensor]
_FORMAT = 1
_KEY = "pulmospark"
_TOLD = ("epoch", "history", "best", "waited")
_COUNT = "step"
"""name of an optimiser's count of its steps; all else that it keeps is of a weight's shape"""


@dataclass
class State:
    """Where a training stands after an epoch.

    Attributes:
        epoch: the last one that is done.
        history: what was told of each.
        best: score of the best one; ``None``: none yet.
        waited: epochs since then.
        parts: "network", "best", and where there are any "average" and "optimiser".
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float | None = None
    waited: int = 0
    parts: dict[str, Tensors] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """The file of a training's checkpoint.

    Attributes:
        path: of the file.
        run_id: of the training; only the same training goes on from it.
    """

    path: Path
    run_id: str

    def write(self, state: State) -> None:
        """Write where the training stands in place of what was there.

        Raises:
            EnvironmentProblem: no space, or no right to write there.
        """
        tensors = {
            f"{part}/{name}": tensor
            for part, inside in state.parts.items()
            for name, tensor in inside.items()
            if part != "best" or state.waited  # else it is what is written besides
        }
        told = {name: getattr(state, name) for name in _TOLD}
        write_tensors(self.path, self.run_id, tensors, told)

    def read(self) -> State | None:
        """Where the training stood; ``None`` where there is no checkpoint of it."""
        found = read_tensors(self.path, self.run_id)
        if found is None:
            return None
        tensors, told = found
        state = State(**told)
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            state.parts.setdefault(part, {})[name] = tensor
        parts = state.parts
        parts.setdefault("best", parts.get("average", parts.get("network", {})))
        return state


def write_tensors(path: Path, run_id: str, tensors: Mapping[str, Any], told: Any) -> None:
    """Write tensors, and a value of JSON's kinds about them, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = json.dumps({"format": _FORMAT, "run": run_id, "told": told}, allow_nan=False)
    with disk_errors(path), whole_file(path) as aside:
        save_file(plain, aside, metadata={_KEY: header})


def clear_asides(path: Path) -> None:
    """Remove what processes left that were killed while they wrote ``path``."""
    for aside in path.parent.glob(f".{path.name}.*.part"):
        aside.unlink(missing_ok=True)


def read_tensors(path: Path, run_id: str) -> tuple[Tensors, Any] | None:
    """What :func:`write_tensors` wrote for this training; ``None`` where there is no such."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if header.get("format") != _FORMAT or header.get("run") != run_id:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, header["told"]  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> Tensors:
    """An optimiser's moments and counts, by number of the parameter and name."""
    return {
        f"{number}/{name}": value
        for number, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give an optimiser back what :func:`optimiser_tensors` took from it."""
    parameters = [
        (one, bool(group.get("fused")))
        for group in optimiser.param_groups
        for one in group["params"]
    ]
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        parameter, fused = parameters[int(number)]
        if name == _COUNT:
            # A fused kernel reads it on the device; others keep it on the CPU, as they made it.
            value = tensor.to(parameter.device) if fused else tensor
        else:
            # In the order in memory that the parameter has, as the optimiser made it.
            value = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        optimiser.state[parameter][name] = value
