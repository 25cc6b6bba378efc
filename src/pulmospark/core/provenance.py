"""Provenance: what made an output, so that it can be made again."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import pulmospark

_TOLD = (
    "numpy",
    "opencv-python-headless",
    "openvino",
    "pyarrow",
    "pyspark",
    "timm",
    "torch",
    "torchvision",
)


def provenance(settings: dict[str, Any], *, seed: int | None = None) -> dict[str, Any]:
    """What made an output: version, libraries, platform, time, settings and seed.

    Args:
        settings: of the stage, as values of JSON's kinds.
        seed: of the stage, where it has one.

    Returns:
        A value of JSON's kinds; no host or user name in it.
    """
    return {
        "pulmospark": pulmospark.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": {name: version for name in _TOLD if (version := _version(name))},
        "made_at": now_utc().isoformat(timespec="seconds"),
        "seed": seed,
        "settings": settings,
    }


def now_utc() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


def _version(name: str) -> str | None:
    # What is imported is what runs: under spark-submit that is the PySpark of SPARK_HOME, beside
    # which another may be installed.
    imported = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(imported, str):
        return imported
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
