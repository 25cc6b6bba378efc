"""Checkpoints: everything a training run needs to resume after an epoch, in one file.

A safetensors file with scalars as JSON in the header. It is written atomically; a damaged file,
or one of another training run, is ignored. Random numbers are functions of seed, process and
epoch, so they are not stored. Nor are frozen weights and their statistics: those are in the start
file next to it. So the size is 4 bytes per trained parameter, as many for each moment, and as
many for the best epoch's weights if that is not the last one.
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
_FORMAT = 2
_KEY = "pulmospark"
_SCALARS = ("epoch", "history", "best", "waited")
_COUNT = "step"
"""name of an optimiser's count of its steps; everything else has the shape of its weight"""


@dataclass
class State:
    """State of a training run after an epoch.

    Attributes:
        epoch: the last completed one.
        history: the record of each.
        best: score of the best one; ``None``: none yet.
        waited: epochs since the best.
        parts: "network", "best", and if present "average" and "optimiser".
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float | None = None
    waited: int = 0
    parts: dict[str, Tensors] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of a training run.

    Attributes:
        path: of the file.
        run_id: of the training run; only the same run resumes from it.
    """

    path: Path
    run_id: str

    def write(self, state: State) -> None:
        """Write the state, replacing an earlier checkpoint.

        Raises:
            PlatformError: no space, or no right to write there.
        """
        tensors = {
            f"{part}/{name}": tensor
            for part, inside in state.parts.items()
            for name, tensor in inside.items()
            if part != "best" or state.waited  # otherwise equal to the current weights
        }
        scalars = {name: getattr(state, name) for name in _SCALARS}
        write_tensors(self.path, self.run_id, tensors, scalars)

    def read(self) -> State | None:
        """The saved state; ``None`` if there is no checkpoint of this run."""
        saved = read_tensors(self.path, self.run_id)
        if saved is None:
            return None
        tensors, scalars = saved
        state = State(**scalars)
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            state.parts.setdefault(part, {})[name] = tensor
        parts = state.parts
        parts.setdefault("best", parts.get("average", parts.get("network", {})))
        return state


def write_tensors(path: Path, run_id: str, tensors: Mapping[str, Any], scalars: Any) -> None:
    """Write tensors, and a JSON value about them, atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = json.dumps({"format": _FORMAT, "run": run_id, "scalars": scalars}, allow_nan=False)
    with disk_errors(path), whole_file(path) as aside:
        save_file(plain, aside, metadata={_KEY: header})


def clear_asides(path: Path) -> None:
    """Remove temporary files of processes killed while writing ``path``."""
    for aside in path.parent.glob(f".{path.name}.*.part"):
        aside.unlink(missing_ok=True)


def read_tensors(path: Path, run_id: str) -> tuple[Tensors, Any] | None:
    """What :func:`write_tensors` wrote for this training run; ``None`` if there is nothing."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            if header.get("format") != _FORMAT or header.get("run") != run_id:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, header["scalars"]  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> Tensors:
    """An optimiser's moments and step counts, by parameter number and name."""
    return {
        f"{number}/{name}": value
        for number, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
        if isinstance(value, torch.Tensor)
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore an optimiser from :func:`optimiser_tensors`."""
    parameters = [
        (parameter, bool(group.get("fused")))
        for group in optimiser.param_groups
        for parameter in group["params"]
    ]
    for key, tensor in tensors.items():
        number, _, name = key.partition("/")
        parameter, fused = parameters[int(number)]
        if name == _COUNT:
            # A fused kernel reads it on the device; others keep it on the CPU.
            value = tensor.to(parameter.device) if fused else tensor
        else:
            # In the memory format of the parameter, as the optimiser creates it.
            value = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        optimiser.state[parameter][name] = value
