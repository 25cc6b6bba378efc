"""Measures how fast a network scores on this machine."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.models.zoo.network import Network


def scoring_speed(network: Network, pixels: Pixels, folder: Path) -> float:
    """Images per second of one worker with one thread, without decoding.

    Runs batches of ``limits.ENGINE_BATCH`` for ``limits.SPEED_SECONDS`` after one warm-up batch,
    cycling through the images.

    Args:
        network: in evaluation mode.
        pixels: uint8 (n, size, size), n at least 1.
        folder: for the engine.
    """
    spec = prepare_engine(network, folder, outputs="logits", size=pixels.shape[-1])
    engine = open_engine(spec)
    batches = [
        pixels[at : at + limits.ENGINE_BATCH] for at in range(0, len(pixels), limits.ENGINE_BATCH)
    ]
    engine.run(batches[0])
    images, started = 0, time.perf_counter()
    for batch in itertools.cycle(batches):
        engine.run(batch)
        images += len(batch)
        if (seconds := time.perf_counter() - started) >= limits.SPEED_SECONDS:
            break
    return images / seconds
