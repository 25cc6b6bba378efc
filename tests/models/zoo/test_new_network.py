"""The network that the how-to adds is built, staged, trained from a step, and listed."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from docs.pages import blocks
from pulmospark.cli.models import command
from pulmospark.core.errors import UsageError
from pulmospark.models.zoo import catalogue, networks
from pulmospark.models.zoo.entry import ZooEntry


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> ZooEntry:
    (code,) = (b.text for b in blocks("python") if b.page.name == "new-network.md")
    names: dict[str, Any] = {}
    exec(compile(code, "new-network.md", "exec", dont_inherit=True), names)
    entry: ZooEntry = names["NEW"]
    monkeypatch.setattr(catalogue, "ZOO", MappingProxyType({**catalogue.ZOO, entry.name: entry}))
    return entry


def test_it_is_built_for_any_classes_and_learns(added: ZooEntry) -> None:
    network = networks.build(added.name, 3)
    counted = sum(each.numel() for each in network.backbone.parameters())
    assert counted == added.backbone_parameters
    pixels = torch.randint(0, 256, (4, added.min_size, added.min_size)).float()
    assert network.features(pixels).shape == (4, added.width)
    before = network(pixels).detach()
    assert before.shape == (4, 3)
    stages = networks.stages(network)
    assert stages == (("backbone.0",), ("backbone.2",))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    loss = torch.nn.functional.cross_entropy(network(pixels), torch.tensor([0, 1, 2, 0]))
    torch.autograd.backward(loss)
    optimiser.step()
    assert not torch.equal(network(pixels), before)


def test_it_is_listed_and_its_size_is_checked(added: ZooEntry) -> None:
    shown = CliRunner().invoke(command, [added.name])
    assert shown.exit_code == 0, shown.output
    assert added.title in shown.output
    assert added.name in CliRunner().invoke(command, []).output
    catalogue.check_size(added.name, 16)
    with pytest.raises(UsageError, match="under its minimum of 16"):
        catalogue.check_size(added.name, 15)
    with pytest.raises(UsageError, match=r"did you mean.*two_convolutions"):
        catalogue.entry("two_convolution")
