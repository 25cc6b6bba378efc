"""torchvision's networks can be had whether or not its C++ operators are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pulmospark.models.torchvision_ops import import_torchvision_models


def _python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def test_gives_the_networks() -> None:
    assert callable(import_torchvision_models().mobilenet_v2)
    assert import_torchvision_models() is import_torchvision_models()


def test_importing_the_zoo_imports_no_torchvision() -> None:
    assert _python(
        "import sys, pulmospark.models.zoo; print('torchvision' in sys.modules)"
    ).split() == ["False"]


@pytest.mark.parametrize("declared", ["nms", "qnms"])
def test_leaves_operators_alone_that_are_there(declared: str) -> None:
    program = f"""
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
library.define("{declared}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.impl("{declared}", lambda dets, scores, iou: scores + 41, "CPU")
from pulmospark.models.torchvision_ops import import_torchvision_models
import_torchvision_models()
print(int(torch.ops.torchvision.{declared}(torch.ones(1, 4), torch.ones(1), 0.5)))
"""
    assert _python(program).split() == ["42"]
