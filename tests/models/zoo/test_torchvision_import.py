"""torchvision's networks can be had whether or not its C++ operators are there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pulmospark.models.zoo.torchvision_import import import_torchvision_models


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
        "import sys, pulmospark.models.zoo.networks; print('torchvision' in sys.modules)"
    ).split() == ["False"]


def test_listing_the_networks_imports_no_torch() -> None:
    program = (
        "import sys, pulmospark.models.zoo.catalogue, pulmospark.models.weights.local_files as w\n"
    )
    program += "w.find_local(pulmospark.models.zoo.catalogue.entry('vgg19'))\n"
    assert _python(program + "print('torch' in sys.modules)").split() == ["False"]


def test_one_network_is_had_without_the_rest_of_torchvision() -> None:
    """And is the same, key by key and number by number; the rest is still whole afterwards."""
    program = """
import sys, torch
from pulmospark.models.zoo import networks as zoo
names = ["mobilenet_v2", "squeezenet1_1", "resnet50", "densenet121"]
ours = {}
for name in names:
    torch.manual_seed(1)
    ours[name] = zoo.build(name, 2).backbone
print("torchvision" in sys.modules, "torch._dynamo" in sys.modules)
from pulmospark.models.zoo.torchvision_import import import_torchvision_models
models = import_torchvision_models()
for name in names:
    torch.manual_seed(1)
    theirs = models.get_model(name, weights=None).state_dict()
    print(all(torch.equal(theirs[key], value) for key, value in ours[name].state_dict().items()))
print(models.resnet18(weights=None).eval()(torch.zeros(1, 3, 32, 32)).shape[1])
"""
    assert _python(program).split() == ["False", "False", *["True"] * 4, "1000"]


@pytest.mark.parametrize("declared", ["nms", "qnms"])
def test_leaves_operators_alone_that_are_there(declared: str) -> None:
    program = f"""
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
library.define("{declared}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.impl("{declared}", lambda dets, scores, iou: scores + 41, "CPU")
from pulmospark.models.zoo.torchvision_import import import_torchvision_models
import_torchvision_models()
print(int(torch.ops.torchvision.{declared}(torch.ones(1, 4), torch.ones(1), 0.5)))
"""
    assert _python(program).split() == ["42"]
