"""On what a training computes, and in which precision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from pulmospark.core.settings import NetworkSettings

_MALLOC_BYTES = str(8 * 1024**3)

# glibc gives large blocks back to the system at once and takes them anew, page by page, in
# every step: a third of a CNN's time on a CPU.
_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": _MALLOC_BYTES,
    "MALLOC_TRIM_THRESHOLD_": _MALLOC_BYTES,
    "MALLOC_MMAP_MAX_": "0",
}


def environment(threads: int, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which a training process has to start.

    What is set in ``base`` for the C library's memory stays as it is.

    Args:
        threads: that it may use.
        base: what the process would have otherwise.
    """
    many = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    # cuBLAS repeats its sums only with a workspace of a fixed size.
    return {**_MEMORY, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **base, **many}


def device_of(kind: str, rank: int) -> torch.device:
    """The device of a process: the CPU, or the GPU that its number gives it."""
    if kind != "cuda":
        return torch.device("cpu")
    device = torch.device("cuda", rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def make_repeatable(device: torch.device) -> None:
    """Have torch use algorithms that give the same sums each time, and float32 where it says so.

    For all that this process computes from then on: it is a training process's own.
    """
    # Some layers have none on GPUs: there they are run all the same.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # What would be filled is overwritten; only a fault in torch would show the difference.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # TF32 has 10 bits of mantissa, and cuDNN takes it for float32's convolutions by default.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def uses_bf16(settings: NetworkSettings, device: torch.device) -> bool:
    """Whether a training computes in bf16, with its weights kept in float32."""
    if settings.precision != "auto":
        return settings.precision == "bf16"
    return has_bf16(device)


def has_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bf16: AVX-512 BF16 or AMX on CPUs."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    told: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(told.get(name)) for name in ("amx_bf16", "avx512_bf16"))


@contextlib.contextmanager
def bf16_where_fast(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Leave in float32 what a CPU is slow at in bf16, while the rest computes in bf16.

    Depthwise convolutions with a stride, or of another size than 3 x 3, have no kernel of
    their own in bf16 and took two to seven times as long as in float32; left out, the other
    layers make MobileNetV2 and EfficientNet faster and not slower.
    """
    slow = [one for one in network.modules() if device.type == "cpu" and _slow_in_bf16(one)]
    for conv in slow:
        conv.__class__ = _Float32Conv2d
    try:
        yield
    finally:
        for conv in slow:
            conv.__class__ = nn.Conv2d


class _Float32Conv2d(nn.Conv2d):
    """A convolution that computes in float32 wherever it stands."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        with torch.autocast(maps.device.type, enabled=False):
            return super().forward(maps.float())


def _slow_in_bf16(module: nn.Module) -> bool:
    if type(module) is not nn.Conv2d or module.groups == 1:
        return False
    return module.kernel_size != (3, 3) or module.stride != (1, 1)
