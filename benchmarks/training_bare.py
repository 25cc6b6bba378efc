"""The bare training loop, in a process of its own: ``MODEL KIND FOLDER BATCH EPOCHS``.

KIND is ``same``: channels-last, precision, threads and environment as pulmospark has them; or
``defaults``: what PyTorch does when nothing is said. The pixels are in memory, as tensors.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import torch
from torch import nn

from pulmospark.config.train import NetworkSettings
from pulmospark.core import machine
from pulmospark.core.schemas import Split
from pulmospark.data.cohort.table import Part
from pulmospark.models.zoo import networks
from pulmospark.training.data_loader import open_feed
from pulmospark.training.dataset import list_images
from pulmospark.training.device import bf16_where_fast, environment, uses_bf16

_CPU = torch.device("cpu")
_SET = "PULMOSPARK_BENCHMARK_ENVIRONMENT"


def main() -> None:
    """Train, and print the seconds of each epoch and the last one's loss."""
    name, kind, folder, batch, epochs = sys.argv[1:6]
    if kind == "same" and _SET not in os.environ:  # the C library reads it when it starts
        around = environment(machine.cores()) | {_SET: "1"}
        command = [sys.executable, "-m", "benchmarks.training_bare", *sys.argv[1:]]
        os.execve(sys.executable, command, around)
    pixels, labels = _tensors(Path(folder))
    classes = int(labels.max()) + 1
    torch.manual_seed(1)
    network: nn.Module = networks.build(name, classes)
    bf16 = kind == "same" and uses_bf16(NetworkSettings(), _CPU)
    if kind == "same":
        torch.set_num_threads(machine.cores())
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with bf16_where_fast(network, _CPU) if bf16 else contextlib.nullcontext():
        told = _train(network, pixels, labels, int(batch), int(epochs), bf16=bf16)
    print(json.dumps(told))


def _train(
    network: nn.Module,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    batch: int,
    epochs: int,
    *,
    bf16: bool,
) -> dict[str, object]:
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
    network.train()
    seconds, loss_sum = [], 0.0
    for _ in range(epochs):
        order = torch.randperm(len(labels))
        started = time.perf_counter()
        steps, loss_sum = len(labels) // batch, 0.0
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = network(pixels[chosen])
            loss = nn.functional.cross_entropy(logits.float(), labels[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            loss_sum += loss.item()
        seconds.append(time.perf_counter() - started)
        loss_sum /= steps
    return {"seconds": seconds, "loss": loss_sum}


def _tensors(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    part = [Part(Split.TRAIN)]
    classes = ("one", "two", "three")
    (listing,) = list_images(folder / "images", folder / "cohort", part, classes, size=224)
    whole = next(open_feed(listing, bytes_max=2**33).once(len(listing.labels)))
    return torch.from_numpy(whole.pixels), torch.from_numpy(whole.labels)


if __name__ == "__main__":
    main()
