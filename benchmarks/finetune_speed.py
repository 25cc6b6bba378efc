"""Fine-tuning the last stages of MobileNetV2: as before, and with what makes it faster.

The same images, start, seed and order in each round; another round has another seed. Measured are
CPU seconds of one process with one thread, so that other work on the machine counts little;
computing the frozen stages' outputs is included.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.common import (
    Options,
    Report,
    as_json,
    data_folder,
    finish,
    goal,
    python,
    say,
    scratch,
    weights_folder,
)
from benchmarks.pictures import pictures
from pulmospark.config.ingest import IngestSettings
from pulmospark.config.train import NetworkOptions, NetworkSettings, TrainSettings
from pulmospark.core.arrays import Pixels
from pulmospark.imaging.image import image_from_bytes
from pulmospark.imaging.rejection import Rejected
from pulmospark.models.weights.initial_weights import load_start
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.logistic_head import set_linear_head
from pulmospark.models.zoo.network import Network
from pulmospark.training import loop
from pulmospark.training.data_loader import Source, open_feed
from pulmospark.training.dataset import Listing, Piece
from pulmospark.training.device import environment, make_repeatable
from pulmospark.training.eager_torch import run_eagerly
from pulmospark.training.folded_batch_norm import folded_batch_norm
from pulmospark.training.frozen_outputs import FrozenOutputs, OutputsFolder, keep_outputs
from pulmospark.training.process_group import Ranks
from pulmospark.training.recipe import completed
from pulmospark.training.softmax_regression import Standardised, fit_softmax

CLASSES = ("COVID", "Normal", "Viral Pneumonia")
MODEL = "mobilenet_v2"
EPOCHS = 4
IMAGES = 200
"""per class; a third is for validation"""
ROUNDS = 3
BEFORE = "every stage in each epoch"
KEPT = "frozen outputs kept (the default)"
FIXED = "kept, batch norm fixed and folded"
HEAD = "kept, head from a logistic regression"
SMALL_BATCH = "kept, batches of 16"
HALF = "the same, half of the epochs"
WAYS: dict[str, dict[str, Any]] = {
    BEFORE: {"keep": False},
    KEPT: {},
    FIXED: {"batch_norm": "fixed"},
    HEAD: {"head": True},
    SMALL_BATCH: {"batch_size": 16},
    HALF: {"batch_size": 16, "epochs": EPOCHS // 2},
}
_REG_PARAM = 1.0
"""of the head's regression: weaker ones leave no training loss, and end less accurate"""
_SET = "PULMOSPARK_BENCHMARK_ENVIRONMENT"
_SHARE = 0.5
Epochs = list[dict[str, float]]


def measure(options: Options) -> Report:
    """CPU seconds, validation loss and accuracy after each epoch."""
    histories: dict[str, list[Epochs]] = {way: [] for way in WAYS}
    with scratch(options) as folder:
        counts = _write(folder, options)
        for seed in range(1, 1 + (options.repeats or ROUNDS)):
            for way, how in WAYS.items():
                settings = json.dumps({"seed": seed, **how})
                _, printed = finish(
                    python("-m", "benchmarks.finetune_speed", str(folder), settings)
                )
                histories[way].append(as_json(printed)["epochs"])
                say(f"seed {seed}, {way}: {_told(histories[way][-1])}")
                shutil.rmtree(folder / "outputs", ignore_errors=True)
    return _report(histories, counts)


def _told(epochs: Epochs) -> str:
    accuracies = ", ".join(f"{epoch['accuracy']:.3f}" for epoch in epochs)
    return f"accuracies {accuracies}, {epochs[-1]['cpu_seconds']:.0f} CPU s"


def _report(histories: dict[str, list[Epochs]], counts: dict[str, int]) -> Report:
    before = histories[BEFORE]
    targets = [max(epoch["accuracy"] for epoch in epochs) for epochs in before]
    shares = {way: _shares(rounds, before, targets) for way, rounds in histories.items()}
    rows = [
        (
            way,
            f"{median(epochs[-1]['cpu_seconds'] for epochs in rounds):.1f}",
            " ".join(f"{max(epoch['accuracy'] for epoch in epochs):.3f}" for epochs in rounds),
            " ".join(f"{min(epoch['loss'] for epoch in epochs):.3f}" for epochs in rounds),
            " ".join("never" if share is None else f"{share:.2f}" for share in shares[way]),
        )
        for way, rounds in histories.items()
    ]
    return Report(
        name="finetune_speed",
        title=f"Last three of five stages of {MODEL}, {counts['trained']} images, "
        f"{counts['validated']} for validation, {EPOCHS} epochs, {len(before)} seeds",
        head=(
            "way",
            "CPU s (median)",
            "best accuracy",
            "best loss",
            f"share of CPU s of {BEFORE}",
        ),
        rows=rows,
        notes=[
            "share: until the best accuracy of the first way with the same seed",
            *(
                goal(
                    f"{way}: <= {_SHARE} of the CPU seconds with every seed",
                    all(share is not None and share <= _SHARE for share in shares[way]),
                )
                for way in (KEPT, FIXED, HEAD, SMALL_BATCH, HALF)
            ),
        ],
        figures={"histories": histories, **counts},
    )


def _shares(
    rounds: list[Epochs], before: list[Epochs], targets: list[float]
) -> list[float | None]:
    """CPU seconds until the accuracy as a share of those before; ``None``: never reached."""
    shares: list[float | None] = []
    for epochs, old, target in zip(rounds, before, targets, strict=True):
        until, first = _until(epochs, target), _until(old, target)
        shares.append(None if until is None or not first else until / first)
    return shares


def _until(epochs: Epochs, accuracy: float) -> float | None:
    reached = [epoch["cpu_seconds"] for epoch in epochs if epoch["accuracy"] >= accuracy]
    return min(reached, default=None)


def _write(folder: Path, options: Options) -> dict[str, int]:
    """Write the pixels of all images as a table, and their labels and parts."""
    rows = list(_phantoms() if options.small else _real(data_folder(options)))
    images = {"pixels": [pixels.tobytes() for pixels, _, _ in rows]}
    pq.write_table(pa.table(images), folder / "images.parquet", row_group_size=128)
    parts = [part for _, _, part in rows]
    (folder / "rows.json").write_text(json.dumps([[label for _, label, _ in rows], parts]))
    return {"trained": parts.count(0), "validated": parts.count(1)}


def _phantoms() -> Iterator[tuple[Pixels, int, int]]:
    for number, jpeg in enumerate(pictures(None, count=4).jpegs * 3):
        yield _pixels(jpeg), number % len(CLASSES), number % 3 // 2


def _real(data: Path | None) -> Iterator[tuple[Pixels, int, int]]:
    """COVID-19 Radiography Database; every third image validates (it does not name patients)."""
    if data is None:
        raise FileNotFoundError("finetune_speed needs --data, a folder of public data sets")
    for label, name in enumerate(CLASSES):
        paths = sorted((data / "COVID-19_Radiography_Dataset" / name / "images").iterdir())
        for number, path in enumerate(paths[:IMAGES]):
            yield _pixels(path.read_bytes()), label, number % 3 // 2


def _pixels(file: bytes) -> Pixels:
    image = image_from_bytes(file, IngestSettings())
    if isinstance(image, Rejected):
        raise TypeError(image.detail)
    return image.pixels


def main() -> None:
    """Train in one way, in a fresh environment, and print each epoch."""
    if _SET not in os.environ:  # the C library reads it when it starts
        command = [sys.executable, "-m", "benchmarks.finetune_speed", *sys.argv[1:]]
        os.execve(sys.executable, command, environment(1) | {_SET: "1"})
    print(json.dumps({"epochs": _train(Path(sys.argv[1]), json.loads(sys.argv[2]))}))


def _train(folder: Path, how: dict[str, Any]) -> list[dict[str, float]]:
    """CPU seconds so far, validation loss and accuracy after each epoch."""
    torch.set_num_threads(1)
    run_eagerly()  # as the processes of a training do
    make_repeatable(torch.device("cpu"))
    settings = _settings(how)
    torch.manual_seed(how["seed"])
    network = networks.build(MODEL, len(CLASSES))
    load_start(network, TrainSettings(weights_path=weights_folder()), CLASSES)
    listings = _listings(folder)
    listener = _Clock()
    frozen = None
    if how.get("keep", True):
        frozen = keep_outputs(
            network, settings, listings, OutputsFolder(folder / "outputs"), Ranks()
        )
    train, validation = map(open_feed, listings)
    if how.get("head") and frozen is not None:
        _start_head(network, train, frozen)
    folded = folded_batch_norm if how.get("keep", True) else _unfolded
    with mock.patch.object(loop, "folded_batch_norm", folded):
        loop.fit(
            network,
            train,
            validation,
            settings,
            seed=how["seed"],
            frozen=frozen,
            listener=listener,
        )
    return listener.epochs


@contextlib.contextmanager
def _unfolded(*_: Any) -> Iterator[None]:
    yield


def _settings(how: dict[str, Any]) -> NetworkSettings:
    options = NetworkOptions(
        epochs=how.get("epochs", EPOCHS),
        trainable=3,
        batch_size=how.get("batch_size"),
        batch_norm=how.get("batch_norm", "batch"),
    )
    return completed(options, MODEL, started=True)


def _start_head(network: Network, train: Source, frozen: FrozenOutputs) -> None:
    """Fit the head to the deep features of the training images before training (LP-FT).

    Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution, ICLR 2022. Batch norm keeps its statistics for it.
    """
    rest = frozen.stages.remainder(network.eval()).get_submodule("rest")
    features, labels = [], []
    with torch.inference_mode():
        for batch in train.once(64):
            features.append(rest(frozen.of(batch.keys)).numpy())
            labels.append(batch.labels)
    given, truth = Standardised.of(np.concatenate(features)), np.concatenate(labels)
    fitted = fit_softmax(given, truth, network.classes, _REG_PARAM, max_iter=200)
    set_linear_head(network, fitted.weights, fitted.bias)


class _Clock(loop.Listener):
    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self._started = time.process_time()

    def epoch(self, epoch: loop.Epoch) -> None:
        self.epochs.append(
            {
                "cpu_seconds": time.process_time() - self._started,
                "loss": float(epoch.validation_loss or 0.0),
                "accuracy": float(epoch.validation_accuracy or 0.0),
            }
        )


def _listings(folder: Path) -> list[Listing]:
    labels, parts = map(np.array, json.loads((folder / "rows.json").read_text()))
    path = folder / "images.parquet"
    with pq.ParquetFile(path) as file:
        counts = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    group_of = np.repeat(np.arange(len(counts)), counts)
    row_of = np.concatenate([np.arange(count) for count in counts])
    listings = []
    for part in (0, 1):
        mine = np.flatnonzero(parts == part)
        pieces = tuple(
            Piece(path, group, row_of[mine[here]], np.flatnonzero(here), counts[group])
            for group in range(len(counts))
            if (here := group_of[mine] == group).any()
        )
        keys = pa.chunked_array([[str(n) for n in mine]])
        listings.append(Listing(IngestSettings().size, labels[mine], keys, pieces))
    return listings


if __name__ == "__main__":
    main()
