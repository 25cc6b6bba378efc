"""A network cut in two: frozen stages, whose output never changes, and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx, nn

from pulmospark.config.train import NetworkSettings
from pulmospark.models.zoo.network import Network
from pulmospark.training.param_groups import parameter_groups, train_mode
from pulmospark.training.traced import traced

_RANDOM = (nn.modules.dropout._DropoutNd, nn.RReLU)


@dataclass(frozen=True)
class FrozenStages:
    """The two parts of a backbone's graph.

    Attributes:
        front: standardised images -> the output of the frozen stages.
        rest: that output -> deep features.
    """

    front: fx.Graph
    rest: fx.Graph

    def extractor(self, network: Network) -> nn.Module:
        """The frozen stages of a network: pixels (n, h, w) -> their output (n, ...) float32."""
        return _Front(network, self.front)

    def remainder(self, network: Network) -> nn.Module:
        """The rest of a network: output of the frozen stages -> logits (n, classes)."""
        return _Rest(network, self.rest)


class _Front(nn.Module):
    def __init__(self, network: Network, graph: fx.Graph) -> None:
        super().__init__()
        self.network = network
        self.front = fx.GraphModule(network.backbone, graph)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.front(self.network.standardise(pixels))
        return output


class _Rest(nn.Module):
    def __init__(self, network: Network, graph: fx.Graph) -> None:
        super().__init__()
        self.network = network
        self.rest = fx.GraphModule(network.backbone, graph)

    def forward(self, output: torch.Tensor) -> torch.Tensor:
        return self.network.logits(self.rest(output))


def split_frozen(network: Network, settings: NetworkSettings) -> FrozenStages | None:
    """Freeze a network as configured, and cut it after what is frozen.

    Args:
        network: its parameters are frozen; in training mode afterwards.
        settings: of the training.

    Returns:
        The parts; ``None`` if nothing is frozen, the backbone cannot be traced, or more than one
        tensor leaves its frozen part.
    """
    parameter_groups(network, settings)
    train_mode(network, settings)
    if (graph := traced(network.backbone)) is None:
        return None
    frozen = _frozen(graph, network.backbone)
    leaving = [
        node for node in graph.nodes if node in frozen and not frozen.issuperset(node.users)
    ]
    if len(leaving) != 1 or leaving[0].op == "placeholder":
        return None
    (cut,) = leaving
    return FrozenStages(_until(graph, cut, frozen), _after(graph, cut, frozen))


def _frozen(graph: fx.Graph, backbone: nn.Module) -> set[fx.Node]:
    """The nodes whose value for an image is the same in every step."""
    modules, values = dict(backbone.named_modules()), dict(backbone.named_parameters())
    frozen: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "call_module":
            constant = _is_constant(modules[str(node.target)])
        elif node.op == "get_attr":
            constant = str(node.target) in values and not values[str(node.target)].requires_grad
        else:
            constant = node.op != "output"
        if constant and frozen.issuperset(node.all_input_nodes):
            frozen.add(node)
    return frozen


def _is_constant(module: nn.Module) -> bool:
    if any(value.requires_grad for value in module.parameters()):
        return False
    if not module.training:
        return True
    # Activations and pooling without parameters; unknown ones may be random in training.
    plain = type(module).__module__.startswith("torch.nn.modules.")
    return plain and not isinstance(module, _RANDOM) and next(module.buffers(), None) is None


def _until(graph: fx.Graph, cut: fx.Node, frozen: set[fx.Node]) -> fx.Graph:
    front, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        if node in frozen:
            copies[node] = front.node_copy(node, copies.__getitem__)
    front.output(copies[cut])
    front.lint()
    return front


def _after(graph: fx.Graph, cut: fx.Node, frozen: set[fx.Node]) -> fx.Graph:
    rest = fx.Graph()
    copies = {cut: rest.placeholder("output_of_frozen")}
    for node in graph.nodes:
        if node not in frozen:
            copies[node] = rest.node_copy(node, copies.__getitem__)
    rest.lint()
    return rest
