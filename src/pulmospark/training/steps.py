"""The steps of an epoch, and the validation after it, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import nn

from pulmospark.config.train import NetworkSettings
from pulmospark.core import limits
from pulmospark.core.prefetch import ahead
from pulmospark.models.zoo.network import Network
from pulmospark.training.checkpoint import optimiser_tensors
from pulmospark.training.data_loader import Augment, Draw, Source
from pulmospark.training.dataset import Batch
from pulmospark.training.frozen_outputs import FrozenOutputs
from pulmospark.training.optimiser import loss_of, mix, set_rate, soft_targets
from pulmospark.training.param_groups import train_mode
from pulmospark.training.process_group import MovingAverage, Ranks

_VALIDATION_BATCH = 64
_REPORT_EVERY_S = 0.5

OnSteps = Callable[[int, float, float], None]
"""(steps done in this epoch, mean loss so far, images per second of this process)"""
Sums = tuple[float, float, float]
"""of one process: loss, correctly classified images, images"""


@dataclass(frozen=True)
class Stepper:
    """Context shared by the steps of all epochs.

    Attributes:
        model: the network, or its wrapper that averages gradients over the processes.
        network: the network itself.
        optimiser: of the trainable parameters.
        settings: of the training.
        ranks: the processes.
        steps: per epoch.
        bf16: whether to compute in bf16.
        weights: of the classes in the loss, (k,); ``None``: equal.
        average: moving average of the weights; ``None``: none.
        augment: augments images; ``None``: no augmentation.
        frozen: outputs of the frozen stages, which ``model`` takes instead of pixels; ``None``:
            it takes pixels.
    """

    model: nn.Module
    network: Network
    optimiser: torch.optim.Optimizer
    settings: NetworkSettings
    ranks: Ranks
    steps: int
    bf16: bool = False
    weights: torch.Tensor | None = None
    average: MovingAverage | None = None
    augment: Augment | None = None
    frozen: FrozenOutputs | None = None

    def epoch(self, source: Source, how: Draw, on_steps: OnSteps) -> Sums:
        """Train for an epoch; afterwards weights and statistics are equal in all processes."""
        train_mode(self.network, self.settings)
        rng = np.random.default_rng([how.seed, how.epoch, 1 + how.rank, 1])
        torch.manual_seed(int(rng.integers(2**62)))  # dropout's
        total = self.steps * self.settings.epochs
        first = self.steps * (how.epoch - 1)
        sums = torch.zeros(3, dtype=torch.float64, device=self.ranks.device)
        started = last = time.perf_counter()
        drawn = self._ready(islice(source.draw(how), self.steps), how.epoch)
        batches = ahead(drawn, limits.FEED_BATCHES_AHEAD)
        for number, (inputs, labels) in enumerate(batches, start=1):
            set_rate(self.optimiser, self.settings, first + number - 1, total)
            sums += self._step(self._moved(inputs), self._moved(labels), rng)
            if self.average is not None:
                self.average.update(first + number)
            every = self.settings.synchronise_every
            if every and number % every == 0 and self.settings.synchronise == "parameters":
                self.synchronise()
            if (now := time.perf_counter()) - last >= _REPORT_EVERY_S:
                last = now
                loss, _, images = sums.tolist()
                on_steps(number, loss / images, images / (now - started))
        self.synchronise()
        loss, right, images = sums.tolist()
        return loss, right, images

    def synchronise(self) -> None:
        """Average over the processes what differs between them."""
        # With averaged gradients, weights and moments are equal everywhere, but each process has
        # its own batch norm statistics.
        kept = [*self.network.buffers()]
        if self.average is not None:
            kept += self.average.network.buffers()
        if self.settings.synchronise == "parameters":
            kept += [value for value in self.network.parameters() if value.requires_grad]
            kept += optimiser_tensors(self.optimiser).values()
            if self.average is not None:
                kept += self.average.network.parameters()
        self.ranks.average(kept)

    @torch.inference_mode()
    def validate(self, source: Source) -> Sums:
        """Score the weights that would be saved, in float32; the loss is plain cross-entropy."""
        network = self.network if self.average is None else self.average.network
        network.eval()
        model = network if self.frozen is None else self.frozen.stages.remainder(network)
        loss_sum = right = images = 0.0
        batches = self._ready(source.once(_VALIDATION_BATCH), None)
        for inputs, labels in ahead(batches, limits.FEED_BATCHES_AHEAD):
            logits, truth = model(self._moved(inputs)), self._moved(labels)
            loss_sum += float(nn.functional.cross_entropy(logits, truth, reduction="sum"))
            right += float((logits.argmax(1) == truth).sum())
            images += len(truth)
        return loss_sum, right, images

    def _step(
        self, inputs: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        targets = soft_targets(labels, self.network.classes, self.settings)
        if self.settings.mix_up:
            inputs, targets = mix(inputs, targets, self.settings.mix_up, rng)
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.bf16):
            logits = self.model(inputs)
        loss = loss_of(logits, targets, self.weights)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        right = (logits.detach().argmax(1) == labels).sum()
        images = len(labels)
        return torch.stack(
            [loss.detach() * images, right, torch.full_like(right, images)]
        ).double()

    def _ready(
        self, batches: Iterator[Batch], draw: int | None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches as tensors, augmented for training; runs in the feed's thread."""
        pin = self.ranks.device.type == "cuda"
        for batch in batches:
            tensors = self._inputs(batch, draw), torch.from_numpy(batch.labels)
            yield (tensors[0].pin_memory(), tensors[1].pin_memory()) if pin else tensors

    def _inputs(self, batch: Batch, draw: int | None) -> torch.Tensor:
        if self.frozen is not None:
            return self.frozen.of(batch.keys)
        if self.augment is not None and draw is not None:
            return torch.from_numpy(self.augment(batch.pixels, batch.keys, draw))
        return torch.from_numpy(batch.pixels)

    def _moved(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.ranks.device, non_blocking=True)
