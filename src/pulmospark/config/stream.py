"""Settings of a stream: images scored as they land in a folder."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pulmospark.config.inference import Allowances, HeatMapFiles
from pulmospark.core import limits


class StreamSettings(Allowances):
    """How a stream takes images from its inbox."""

    batch_images: Annotated[int, Field(ge=1, le=limits.STREAM_BATCH_IMAGES_MAX)] = 512
    """maximum number of images of a micro-batch; the rest waits in the inbox. More is faster under
    load, fewer bounds how long an image waits for those before it"""
    poll_s: Annotated[float, Field(ge=0.01, le=60.0)] = 0.05
    """seconds between two polls of the inbox"""
    rescan_s: Annotated[float, Field(ge=0.1, le=86_400.0)] = 10.0
    """seconds between two scans of all files of the inbox, including processed ones: finds files
    that were overwritten in place, and new ones on mounts whose folders have no times"""
    settle_s: Annotated[float, Field(ge=0.0, le=3600.0)] = 0.05
    """seconds for which size and time of a file must not change before it is read"""
    patience_s: Annotated[float, Field(ge=0.0, le=86_400.0)] = 10.0
    """seconds after its last change for which a file that cannot be read completely counts as
    still being copied; only then is it rejected"""
    heat_maps: HeatMapFiles | None = None
    """files that are written of each image's heat map; ``None``: none"""
