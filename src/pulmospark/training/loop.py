"""The training loop of one process, by epoch, and resuming it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pulmospark.config.train import NetworkSettings
from pulmospark.core.errors import InputError
from pulmospark.models.zoo.network import Network
from pulmospark.training.checkpoint import (
    Checkpoint,
    State,
    Tensors,
    load_optimiser,
    optimiser_tensors,
)
from pulmospark.training.data_loader import Augment, Draw, Source
from pulmospark.training.device import bf16_where_fast, uses_bf16
from pulmospark.training.folded_batch_norm import folded_batch_norm
from pulmospark.training.frozen_outputs import FrozenOutputs
from pulmospark.training.optimiser import even_share, make_optimiser
from pulmospark.training.param_groups import changing
from pulmospark.training.process_group import MovingAverage, Ranks
from pulmospark.training.steps import Stepper, Sums

_BATCH_MIN = 2
"""smallest batch: batch norm needs the variance of two images"""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set.

    Losses are mean cross-entropies in nats; the training loss is the optimised one (smoothed,
    weighted, mixed). ``None`` if the validation set is empty. The learning rate is that of the
    last layer in the last step.
    """

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    images_per_s: float
    learning_rate: float

    def as_dict(self) -> dict[str, Any]:
        """As a JSON value."""
        return asdict(self)


class Listener:
    """Receives the progress of a training run; this one ignores it."""

    def begins(self, history: Sequence[Epoch], steps: int) -> None:
        """Training starts after the epochs of an earlier run, with ``steps`` per epoch."""

    def step(self, epoch: int, done: int, loss: float, images_per_s: float) -> None:
        """Called from time to time within an epoch."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is complete."""


def fit(
    network: Network,
    train: Source,
    validation: Source,
    settings: NetworkSettings,
    *,
    seed: int,
    ranks: Ranks | None = None,
    augment: Augment | None = None,
    frozen: FrozenOutputs | None = None,
    checkpoint: Checkpoint | None = None,
    listener: Listener | None = None,
) -> list[Epoch]:
    """Train a network in place; it ends with the weights of its best epoch.

    The best epoch has the lowest validation loss, or the lowest training loss without a
    validation set. An interrupted training run resumes from its checkpoint and reaches the same
    weights: bit for bit with one or two processes, up to rounding with more, because their sums
    may be added in another order.

    Args:
        network: to train, in float32, on the device of ``ranks``; initially the same in every
            process.
        train: the training set.
        validation: the validation set.
        settings: of the training.
        seed: of the order of the images, of dropout and of mix-up.
        ranks: this process among the others; ``None``: a single process on the CPU.
        augment: augmentation of training images; its draw is the epoch.
        frozen: outputs of the frozen stages for the images of both sets, used instead of their
            pixels; not with ``augment`` or mix-up. ``None``: computed in each epoch.
        checkpoint: file for the state after each epoch; ``None``: no checkpoint.
        listener: receives the progress.

    Raises:
        InputError: there is nothing to train on, or the loss is not finite.
        UsageError: more trainable stages than the network has.
    """
    ranks, listener = ranks or Ranks(), listener or Listener()
    counts = train.counts(network.classes)
    batch = _batch(sum(counts), settings, ranks)
    # Every process must take the same number of steps, or the others wait forever.
    steps = sum(counts) // (batch * ranks.world)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stepper = _stepper(
        network, settings, ranks, counts=counts, steps=steps, augment=augment, frozen=frozen
    )
    times = even_share(counts) if settings.balance == "sampling" else ()
    state = _begin(stepper, checkpoint)
    listener.begins([Epoch(**values) for values in state.history], steps)
    with _fast(stepper):
        while state.epoch < settings.epochs and not _patience_exhausted(state, settings):
            how = Draw(seed, state.epoch + 1, batch, ranks.rank, ranks.world, times)
            epoch = _pass(stepper, train, validation, how, listener)
            _note(state, epoch, stepper)
            if checkpoint is not None and ranks.rank == 0:
                checkpoint.write(state)
            listener.epoch(epoch)
    _load(network, state.parts["best"])
    return [Epoch(**values) for values in state.history]


@contextlib.contextmanager
def _fast(stepper: Stepper) -> Iterator[None]:
    """Layers computed in the fastest way."""
    network, average = stepper.network, stepper.average
    backbones = [network.backbone, *([average.network.backbone] if average is not None else [])]
    with contextlib.ExitStack() as stack:
        if stepper.bf16:
            stack.enter_context(bf16_where_fast(network, stepper.ranks.device))
        stack.enter_context(folded_batch_norm(*backbones))
        yield


def _pass(
    stepper: Stepper, train: Source, validation: Source, how: Draw, listener: Listener
) -> Epoch:
    """Train for an epoch, validate, and aggregate over all processes."""

    def report(done: int, loss: float, images_per_s: float) -> None:
        listener.step(how.epoch, done, loss, images_per_s * how.world)

    started = time.perf_counter()
    sums = stepper.epoch(train, how, report)
    seconds = time.perf_counter() - started
    epoch = _epoch(how.epoch, sums, stepper.validate(validation), seconds, stepper)
    for name, loss in (("loss", epoch.loss), ("validation loss", epoch.validation_loss or 0.0)):
        if np.isfinite(loss):
            continue
        raise InputError(
            f"epoch {epoch.epoch}: the {name} is {loss}: lower train.network.learning_rate "
            f"(now {stepper.settings.learning_rate:g})"
        )
    return epoch


def _batch(images: int, settings: NetworkSettings, ranks: Ranks) -> int:
    """Batch size of a process."""
    if not images:
        raise InputError("the training set is empty: nothing to train on")
    share = images // ranks.world
    if share < _BATCH_MIN:
        raise InputError(
            f"{images} images for {ranks.world} training processes, but batch norm needs at least "
            "two per process: use fewer processes (train.processes) or more images"
        )
    return min(max(settings.batch_size // ranks.world, _BATCH_MIN), share)


def _stepper(
    network: Network,
    settings: NetworkSettings,
    ranks: Ranks,
    *,
    counts: tuple[int, ...],
    steps: int,
    augment: Augment | None,
    frozen: FrozenOutputs | None,
) -> Stepper:
    optimiser = make_optimiser(network, settings)
    model: nn.Module = network if frozen is None else frozen.stages.remainder(network)
    if ranks.world > 1 and settings.synchronise == "gradients":
        model = ddp = DistributedDataParallel(model, gradient_as_bucket_view=True)
        ddp.broadcast_buffers = False  # averaged at the end of an epoch
    weights = None
    if settings.balance == "weights":
        weights = torch.tensor(even_share(counts), device=ranks.device)
    # Only if all processes do, or they would compute different results.
    bf16 = bool(ranks.least(float(uses_bf16(settings, ranks.device)))[0])
    average = MovingAverage(network, settings.ema) if settings.ema else None
    return Stepper(
        model=model,
        network=network,
        optimiser=optimiser,
        settings=settings,
        ranks=ranks,
        steps=steps,
        bf16=bf16,
        weights=weights,
        average=average,
        augment=augment,
        frozen=frozen,
    )


def _begin(stepper: Stepper, checkpoint: Checkpoint | None) -> State:
    """The state to resume from, or the initial state."""
    network, ranks = stepper.network, stepper.ranks
    saved = checkpoint.read() if checkpoint is not None else None
    epoch = saved.epoch if saved is not None else 0
    least, most = ranks.least(epoch, -epoch)
    if saved is None or least != -most:  # the processes see different files
        return State(parts={"best": _copied(_moving(network, stepper))})
    _load(network, saved.parts["network"])
    load_optimiser(stepper.optimiser, saved.parts.get("optimiser", {}))
    if stepper.average is not None:
        _load(stepper.average.network, saved.parts["average"])
    return saved


def _note(state: State, epoch: Epoch, stepper: Stepper) -> None:
    """Add an epoch to the state of the training run."""
    state.epoch = epoch.epoch
    state.history.append(epoch.as_dict())
    network = stepper.network
    kept = state.parts["network"] = _moving(network, stepper)
    state.parts["optimiser"] = optimiser_tensors(stepper.optimiser)
    if stepper.average is not None:
        kept = state.parts["average"] = _moving(stepper.average.network, stepper)
    score = epoch.loss if epoch.validation_loss is None else epoch.validation_loss
    if state.best is None or score < state.best:
        state.best, state.waited = score, 0
        state.parts["best"] = _copied(kept)
    else:
        state.waited += 1


def _patience_exhausted(state: State, settings: NetworkSettings) -> bool:
    return 0 < settings.patience <= state.waited


def _epoch(number: int, train: Sums, validation: Sums, seconds: float, stepper: Stepper) -> Epoch:
    totals = stepper.ranks.total(*train, *validation)
    loss, right, seen, val_loss, val_right, val_seen = totals
    return Epoch(
        epoch=number,
        loss=loss / seen,
        accuracy=right / seen,
        validation_loss=val_loss / val_seen if val_seen else None,
        validation_accuracy=val_right / val_seen if val_seen else None,
        seconds=seconds,
        images_per_s=seen / seconds,
        learning_rate=float(stepper.optimiser.param_groups[-1]["lr"]),
    )


def _moving(holder: Network, stepper: Stepper) -> Tensors:
    """The tensors of a network that training changes.

    Args:
        holder: whose tensors are returned, not copied: the network, or its moving average.
        stepper: of the trained network, which determines the names.
    """
    names = changing(stepper.network, stepper.settings)
    return {name: value for name, value in holder.state_dict().items() if name in names}


def _load(network: Network, tensors: Tensors) -> None:
    """Load tensors of :func:`_moving`."""
    network.load_state_dict(network.state_dict() | tensors)


def _copied(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
