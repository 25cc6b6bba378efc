"""Provenance of an output, so that it can be reproduced."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import pulmospark

_LIBRARIES = (
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
    """Provenance of an output: version, libraries, platform, time, settings and seed.

    Args:
        settings: of the stage, as JSON values.
        seed: of the stage, if it has one.

    Returns:
        A JSON value, without host or user name.
    """
    return {
        "pulmospark": pulmospark.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
        "made_at": now_utc().isoformat(timespec="seconds"),
        "seed": seed,
        "settings": settings,
    }


def now_utc() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


def _version(name: str) -> str | None:
    # The imported version is the one that runs: under spark-submit that is SPARK_HOME's PySpark,
    # while another may be installed.
    imported = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(imported, str):
        return imported
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
