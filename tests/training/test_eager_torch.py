"""Training without torch's compiler: the same steps, and the compiler for who asks for it."""

from __future__ import annotations

import json
import subprocess
import sys

_STEPS = """
import json, sys
import torch
from torch import nn

if {eagerly}:
    from pulmospark.training.eager_torch import run_eagerly
    run_eagerly()
torch.manual_seed(1)
network = nn.Linear(3, 2)
optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
optimiser.add_param_group({{"params": [nn.Parameter(torch.ones(1))], "lr": 0.5}})
for _ in range(3):
    optimiser.zero_grad()
    network(torch.ones(4, 3)).square().sum().backward()
    optimiser.step()
compiler = "torch._inductor" in sys.modules
torch._dynamo.reset()  # which no eager code needs
print(json.dumps([network.weight.tolist(), compiler, "torch._inductor" in sys.modules]))
"""


def _trained(*, eagerly: bool) -> list[object]:
    program = _STEPS.format(eagerly=eagerly)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True
    )
    result: list[object] = json.loads(done.stdout)
    return result


def test_steps_are_the_same_without_the_compiler() -> None:
    weights, early, late = _trained(eagerly=True)
    assert (early, late) == (False, True)
    assert _trained(eagerly=False) == [weights, True, True]
