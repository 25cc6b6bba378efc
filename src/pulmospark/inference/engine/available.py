"""What this machine has for running networks; imports torch only where there may be a GPU."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg")
"""of NVIDIA's driver on Linux, and under Windows' subsystem for it"""


def has_gpu() -> bool:
    """Whether this machine has a GPU, on which PyTorch then runs networks."""
    if not any(Path(device).exists() for device in _GPU_DEVICES):
        return False
    import torch  # noqa: PLC0415 - more than a second

    return torch.cuda.is_available()


def library_version(library: str) -> str | None:
    """Version of an installed package; ``None``: it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
