"""Device, environment and numerical precision of training."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.grad import conv2d_weight

from pulmospark.config.train import NetworkSettings

_MALLOC_BYTES = str(8 * 1024**3)

# glibc returns large blocks to the system at once and allocates them again, page by page, in
# every step: a third of a CNN's time on a CPU.
_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": _MALLOC_BYTES,
    "MALLOC_TRIM_THRESHOLD_": _MALLOC_BYTES,
    "MALLOC_MMAP_MAX_": "0",
}


def environment(threads: int, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a training process.

    Settings in ``base`` for the C library's memory take precedence.

    Args:
        threads: number of threads.
        base: the environment to extend.
    """
    many = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    # cuBLAS is deterministic only with a workspace of fixed size.
    return {**_MEMORY, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **base, **many}


def device_of(kind: str, rank: int) -> torch.device:
    """The device of a process: the CPU, or the GPU of its rank."""
    if kind != "cuda":
        return torch.device("cpu")
    device = torch.device("cuda", rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def make_repeatable(device: torch.device) -> None:
    """Make torch use deterministic algorithms, and full float32 precision.

    Applies to the whole process, which is dedicated to training.
    """
    # Some layers have none on GPUs: those run non-deterministically. (As with
    # ``use_deterministic_algorithms``, which imports torch's compiler first: seconds of a core.)
    torch.set_deterministic_debug_mode("warn" if device.type == "cuda" else "error")
    # Uninitialised memory is always overwritten, unless torch has a bug.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # TF32 has 10 bits of mantissa, and cuDNN uses it for float32 convolutions by default.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def uses_bf16(settings: NetworkSettings, device: torch.device) -> bool:
    """Whether training computes in bf16, with weights in float32."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    return has_bf16(device)


def has_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bf16: AVX-512 BF16 or AMX on CPUs."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("amx_bf16", "avx512_bf16"))


@contextlib.contextmanager
def bf16_where_fast(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Replace what a CPU computes slowly in bf16.

    Depthwise convolutions with a stride, or with kernels other than 3 x 3, have no optimised bf16
    kernel in one direction or more, and took two to fifty times as long as in float32. Without
    them, bf16 speeds up MobileNetV2 and EfficientNet.
    """
    slow = {
        module: kind
        for module in network.modules()
        if device.type == "cpu" and (kind := _fast_kind(module)) is not None
    }
    for conv, kind in slow.items():
        conv.__class__ = kind
    try:
        yield
    finally:
        for conv in slow:
            conv.__class__ = nn.Conv2d


class Float32Conv2d(nn.Conv2d):
    """A convolution that always computes in float32."""

    def _conv_forward(
        self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            maps: torch.Tensor = super()._conv_forward(input.float(), weight, bias)
        return maps


class StridedConv2d(nn.Conv2d):
    """A depthwise convolution with a stride whose gradient is fast in bf16."""

    def _conv_forward(
        self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        maps: torch.Tensor
        if not torch.is_autocast_enabled(input.device.type):
            maps = super()._conv_forward(input, weight, bias)
            return maps
        maps = _StridedDepthwise.apply(  # type: ignore[no-untyped-call]
            input.bfloat16(), weight.bfloat16(), self.stride, self.padding
        )
        return maps if bias is None else maps + bias.to(maps.dtype).reshape(-1, 1, 1)


class _StridedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        maps: torch.Tensor,
        weight: torch.Tensor,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> torch.Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.stride, ctx.padding = stride, padding
        return nn.functional.conv2d(maps, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        of_maps = of_weight = None
        if ctx.needs_input_grad[0]:
            # The gradient spread out with zeros, convolved with the turned kernel without stride:
            # the same sum, for which there is a kernel.
            spread = torch.zeros_like(maps)
            spread[:, :, :: ctx.stride[0], :: ctx.stride[1]] = gradient
            turned = weight.flip(2, 3)
            of_maps = nn.functional.conv2d(
                spread, turned, None, 1, ctx.padding, groups=len(weight)
            )
        if ctx.needs_input_grad[1]:
            of_weight = conv2d_weight(  # type: ignore[no-untyped-call]
                maps, weight.shape, gradient, ctx.stride, ctx.padding, groups=len(weight)
            )
        return of_maps, of_weight, None, None


def _fast_kind(module: nn.Module) -> type[nn.Conv2d] | None:
    """What computes a convolution faster with bf16; ``None``: bf16 as it is."""
    if type(module) is not nn.Conv2d or module.groups == 1:
        return None
    if module.kernel_size != (3, 3):
        return Float32Conv2d
    if module.stride == (1, 1):
        return None
    depthwise = module.groups == module.in_channels == module.out_channels
    whole = module.padding == (1, 1) and module.dilation == (1, 1)
    plain = depthwise and whole and module.padding_mode == "zeros"
    return StridedConv2d if plain else Float32Conv2d
