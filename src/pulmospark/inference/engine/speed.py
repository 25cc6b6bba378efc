"""How fast a network scores on this machine."""

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
    """Images a second of one worker with one thread, decoding left out.

    Batches of ``limits.ENGINE_BATCH`` are run for ``limits.SPEED_SECONDS`` after one that is
    not counted; the images are taken from the first again when they are all through.

    Args:
        network: in evaluation mode.
        pixels: uint8 (n, size, size), n of 1 and more.
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
