"""The training loop of one process; with others, gradients are averaged over all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pulmospark.core.errors import InputError
from pulmospark.core.settings import NetworkSettings
from pulmospark.models.network import Network
from pulmospark.training.feed import Films

_BATCH_MIN = 2
"""films of the smallest batch: batch norm has no variance of one"""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training part.

    Losses are mean cross-entropies in nats; ``None`` where the validation part is empty.
    """

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float
    films_per_s: float

    def as_dict(self) -> dict[str, Any]:
        """As a value of JSON's kinds."""
        return asdict(self)


@dataclass(frozen=True)
class Ranks:
    """Where this process stands among the others."""

    rank: int = 0
    world: int = 1

    def total(self, *values: float) -> list[float]:
        """The sum of each value over all processes."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor]


def fit(
    network: Network,
    train: Films,
    validation: Films,
    settings: NetworkSettings,
    *,
    seed: int,
    ranks: Ranks | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> list[Epoch]:
    """Train a network in place; at the end it holds the weights of its best epoch.

    The best epoch has the lowest validation loss, or the lowest training loss where no film
    validates. AdamW with a cosine schedule after a linear warm-up over the first tenth.

    Args:
        network: to train, in float32; the same in every process at the start.
        train: this process's share of the training part.
        validation: this process's share of the validation part.
        settings: epochs, batch size (over all processes), learning rate and more.
        seed: of the order of the films and of dropout.
        ranks: where this process stands; ``None``: alone.
        on_epoch: called after each epoch.

    Raises:
        InputError: there is nothing to train on, or the loss is no longer a number.
    """
    ranks = ranks or Ranks()
    torch.manual_seed(seed + ranks.rank)
    order = np.random.default_rng([seed, ranks.rank])
    films = int(ranks.total(len(train.labels))[0])
    if not films:
        raise InputError("the training part is empty: nothing to train on")
    batch = max(settings.batch_size // ranks.world, _BATCH_MIN)
    # Every process must take as many steps as the others, or they wait for ever.
    steps = max(films // (batch * ranks.world), 1)
    if settings.frozen:
        network.backbone.requires_grad_(False)
    optimiser = torch.optim.AdamW(
        [parameter for parameter in network.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    total = steps * settings.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model: nn.Module = DistributedDataParallel(network) if ranks.world > 1 else network
    history: list[Epoch] = []
    best, best_state, waited = float("inf"), _state(network), 0
    for number in range(1, settings.epochs + 1):
        started = time.perf_counter()
        network.train()
        if settings.frozen:  # batch norm keeps the statistics it was trained with
            network.backbone.eval()
        batches = _batches(order, len(train.labels), batch, steps)
        loss, right, seen = ranks.total(*_train_epoch(model, optimiser, schedule, train, batches))
        seconds = time.perf_counter() - started
        epoch = _epoch(number, (loss, right, seen), _validate(network, validation, ranks), seconds)
        if not np.isfinite(epoch.loss):
            raise InputError(
                f"epoch {number}: the loss is {epoch.loss}: lower train.network.learning_rate "
                f"(now {settings.learning_rate:g})"
            )
        history.append(epoch)
        on_epoch(epoch)
        score = epoch.loss if epoch.validation_loss is None else epoch.validation_loss
        if score < best:
            best, best_state, waited = score, _state(network), 0
        else:
            waited += 1
            if settings.patience and waited >= settings.patience:
                break
    network.load_state_dict(best_state)
    return history


def _train_epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    films: Films,
    batches: list[np.ndarray[Any, np.dtype[np.int64]]],
) -> tuple[float, float, float]:
    loss_sum = right = seen = 0.0
    for chosen in batches:
        labels = torch.from_numpy(films.labels[chosen])
        logits = model(torch.from_numpy(films.pixels[chosen]))
        loss = nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        loss_sum += loss.item() * len(chosen)
        right += float((logits.argmax(1) == labels).sum())
        seen += len(chosen)
    return loss_sum, right, seen


@torch.inference_mode()
def _validate(network: Network, films: Films, ranks: Ranks) -> tuple[float, float, float]:
    network.eval()
    loss_sum = right = 0.0
    for start in range(0, len(films.labels), 64):
        labels = torch.from_numpy(films.labels[start : start + 64])
        logits = network(torch.from_numpy(films.pixels[start : start + 64]))
        loss_sum += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
        right += float((logits.argmax(1) == labels).sum())
    loss_sum, right, seen = ranks.total(loss_sum, right, float(len(films.labels)))
    return loss_sum, right, seen


def _epoch(
    number: int,
    train: tuple[float, float, float],
    validation: tuple[float, float, float],
    seconds: float,
) -> Epoch:
    loss, right, seen = train
    val_loss, val_right, val_seen = validation
    return Epoch(
        epoch=number,
        loss=loss / seen,
        accuracy=right / seen,
        validation_loss=val_loss / val_seen if val_seen else None,
        validation_accuracy=val_right / val_seen if val_seen else None,
        seconds=seconds,
        films_per_s=seen / seconds,
    )


def _batches(
    order: np.random.Generator, films: int, batch: int, steps: int
) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """``steps`` batches of indices; a share that is too small for them starts over."""
    if films < _BATCH_MIN:
        raise InputError(
            f"a training process has {films} films, and batch norm needs two films or more: use "
            "fewer processes (train.processes) or more films"
        )
    rounds = -(-steps * batch // films)
    chosen = np.concatenate([order.permutation(films) for _ in range(rounds)])
    if steps * batch > films and steps == 1:
        chosen = chosen[:films]  # fewer films than one batch: take each once
    return [chosen[step * batch : (step + 1) * batch] for step in range(steps)]


def _rate(step: int, total: int) -> float:
    warm = max(total // 10, 1)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + float(np.cos(np.pi * (step - warm) / max(total - warm, 1))))


def _state(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
