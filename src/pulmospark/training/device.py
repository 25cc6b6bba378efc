"""Device, environment and numerical precision of training."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

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
    if settings.batch_norm == "fixed" and device.type == "cpu":
        # Folded, only convolutions are left, in which AVX-512 BF16 is no faster than float32.
        return _capable("amx_bf16")
    return has_bf16(device)


def has_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bf16: AVX-512 BF16 or AMX on CPUs."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _capable("amx_bf16", "avx512_bf16")


def _capable(*instructions: str) -> bool:
    """Whether the CPU has some of these instructions."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in instructions)


@contextlib.contextmanager
def bf16_where_fast(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Keep layers in float32 that a CPU computes slowly in bf16.

    Depthwise convolutions with a stride, or with kernels other than 3 x 3, have no optimised bf16
    kernel and took two to seven times as long as in float32. Without them, bf16 speeds up
    MobileNetV2 and EfficientNet.
    """
    slow = [
        module for module in network.modules() if device.type == "cpu" and _slow_in_bf16(module)
    ]
    for conv in slow:
        conv.__class__ = Float32Conv2d
    try:
        yield
    finally:
        for conv in slow:
            conv.__class__ = nn.Conv2d


class Float32Conv2d(nn.Conv2d):
    """A convolution that always computes in float32."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> (n, channels, h, w) float32."""
        with torch.autocast(maps.device.type, enabled=False):
            return super().forward(maps.float())


def _slow_in_bf16(module: nn.Module) -> bool:
    if type(module) is not nn.Conv2d or module.groups == 1:
        return False
    return module.kernel_size != (3, 3) or module.stride != (1, 1)
