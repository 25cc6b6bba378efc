"""Heat maps of vision transformers: gradient-weighted attention rollout.

Chefer, Gur and Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers, 2021, rule 5 for self-attention: each layer's attention A is weighted
by its gradient, averaged over the heads where positive, and added to what flowed through so far,
R <- R + E[(dA * A)+] R. Plain rollout (Abnar and Zuidema 2020) is the same for every class.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from pulmospark.models.zoo.network import Network

_EXTRA_TOKENS_MAX = 16
"""class, distillation and register tokens before those of the patches"""


class AttentionRecorder:
    """Records the attention of all layers in a forward pass.

    Args:
        backbone: with attention layers of PyTorch (``nn.MultiheadAttention``, as in torchvision)
            or of timm.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self._backbone = backbone
        self.recorded: list[torch.Tensor] = []
        """of each layer, (n, heads, tokens, tokens)"""

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record within."""
        hooks = []
        for module in self._backbone.modules():
            if _is_supported(module):
                hooks.append(module.register_forward_hook(self._explicitly, with_kwargs=True))
            elif (drop := _timm_dropout(module)) is not None:
                # The fused kernel does not return the attention.
                module.fused_attn = False  # type: ignore[assignment]
                hooks.append(drop.register_forward_hook(self._keep))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def maps(self, evidence: torch.Tensor) -> torch.Tensor:
        """(n, rows, columns): how far each patch contributed to ``evidence``, 0 and above."""
        gradients = torch.autograd.grad(evidence, self.recorded)
        layers = [
            torch.relu(gradient * attention.detach()).mean(dim=1)
            for gradient, attention in zip(gradients, self.recorded, strict=True)
        ]
        # Which tokens the last layer is read at: the class token, or all that are averaged. No
        # gradient reaches the others.
        read = gradients[-1].abs().sum(dim=(1, 3))
        start = read / read.sum(dim=1, keepdim=True).clamp_min(torch.finfo(read.dtype).tiny)
        flow = start[:, None]
        for layer in reversed(layers):
            flow = flow + flow @ layer
        relevance = (flow - start[:, None])[:, 0]
        side, extra = _grid(relevance.shape[1])
        return relevance[:, extra:].reshape(-1, side, side)

    def _keep(self, _: nn.Module, __: object, attention: torch.Tensor) -> torch.Tensor:
        if not attention.requires_grad:  # of the first layer: the gradient ends here
            attention = attention.detach().requires_grad_()
        self.recorded.append(attention)
        return attention

    def _explicitly(
        self,
        module: nn.MultiheadAttention,
        inputs: tuple[torch.Tensor, ...],
        options: dict[str, torch.Tensor],
        _: object,
    ) -> tuple[torch.Tensor, None]:
        """Self-attention step by step, so that its attention can be recorded."""
        tokens = inputs[0] if inputs else options["query"]
        count, length, width = tokens.shape
        heads = module.num_heads
        joint = functional.linear(tokens, module.in_proj_weight, module.in_proj_bias)
        query, key, value = (
            part.reshape(count, length, heads, width // heads).transpose(1, 2)
            for part in joint.chunk(3, dim=2)
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(width // heads)
        attention = self._keep(module, None, scores.softmax(dim=3))
        mixed = (attention @ value).transpose(1, 2).reshape(count, length, width)
        return module.out_proj(mixed), None


@torch.no_grad()
def has_attention(backbone: nn.Module, network: Network, size: int) -> bool:
    """Whether a network attends over all patches of an image, in layers that are supported."""
    if not any(_is_supported(m) or _timm_dropout(m) is not None for m in backbone.modules()):
        return False
    recorder = AttentionRecorder(backbone)
    image = torch.zeros((1, size, size), dtype=torch.uint8, device=network.mean.device)
    with recorder.recording():
        network.features(image)
    shapes = {tuple(attention.shape[2:]) for attention in recorder.recorded}
    if len(shapes) != 1:  # windows, or patches that are merged
        return False
    ((rows, columns),) = shapes
    return rows == columns and recorder.recorded[0].shape[0] == 1 and _grid(rows)[0] > 1


def _grid(tokens: int) -> tuple[int, int]:
    """Side of the square of patches, and the number of tokens before them; 0: no square."""
    side = math.isqrt(tokens)
    extra = tokens - side * side
    return (side, extra) if extra <= _EXTRA_TOKENS_MAX else (0, tokens)


def _is_supported(module: nn.Module) -> bool:
    """Whether a layer is PyTorch's attention as self-attention uses it: one projection for all."""
    return (
        isinstance(module, nn.MultiheadAttention)
        and module.in_proj_weight is not None
        and module.batch_first
        and module.bias_k is None
        and not module.add_zero_attn
    )


def _timm_dropout(module: nn.Module) -> nn.Module | None:
    """The layer of timm's attention whose output is the attention."""
    drop = getattr(module, "attn_drop", None)
    is_attention = hasattr(module, "fused_attn") and hasattr(module, "qkv")
    return drop if is_attention and isinstance(drop, nn.Module) else None
