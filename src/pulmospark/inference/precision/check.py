"""Chooses the precision: a lower one is used only if its answers agree with float32's.

The check runs a sample of the images to be scored through the network in float32 and in the lower
precision. It compares what users see: the probabilities, and the decisions derived from them. A
precision that exceeds the limits is not used, and the next one is tried.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict

from pulmospark.chunks.executor import Executor
from pulmospark.chunks.local import ThisProcess
from pulmospark.config.inference import Precision, PrecisionPolicy
from pulmospark.core import limits, machine
from pulmospark.core.arrays import Floats, Ints, Pixels
from pulmospark.core.errors import PlatformError
from pulmospark.core.extras import how_to_install
from pulmospark.core.hashing import bytes_id, value_id
from pulmospark.core.records import Record
from pulmospark.inference.decision_point import DecisionPoint
from pulmospark.inference.engine.openvino_compile import capabilities
from pulmospark.inference.engine.softmax import softmax
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.precision import cache
from pulmospark.inference.precision.sample import Sample, standard_pixels
from pulmospark.inference.precision.trial import EngineAnswers, TrialWork, run_trial

_ORDER: tuple[Precision, ...] = ("int8", "bf16", "fp16")
_BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
_FP16_FLAGS = frozenset({"amx_fp16", "asimdhp"})


class Trial(Record):
    """The trial of one lower precision."""

    model_config = ConfigDict(frozen=True)

    precision: Precision
    passed: bool
    probability_moved: float | None = None
    """largest change of a probability; ``None``: it was not run"""
    decisions_changed: int | None = None
    """images of the sample whose most probable class or decision changed"""
    reason: str = ""
    """why it was not run"""

    def words(self, images: int) -> str:
        """The outcome as text."""
        if self.probability_moved is None:
            return f"{self.precision} {self.reason}"
        return (
            f"{self.precision} moved a probability by {self.probability_moved:.2g} at most and "
            f"changed {self.decisions_changed} of {images} decisions"
        )


class PrecisionOutcome(Record):
    """In which precision a network scores, and why."""

    model_config = ConfigDict(frozen=True)

    asked: PrecisionPolicy
    used: Precision
    images: int = 0
    """in the sample; 0: none was taken"""
    sample_id: str | None = None
    """SHA-256 that identifies the sample"""
    probability_limit: float = limits.PARITY_PROBABILITY_MAX
    decisions_limit: float = limits.PARITY_DECISIONS_MAX
    """fraction of the sample"""
    trials: tuple[Trial, ...] = ()
    """in the order in which they were tried"""
    remembered: bool = False
    """whether all results are cached from an earlier call"""
    reason: str = ""
    """why nothing was tried"""

    def line(self) -> str:
        """The decision, on one line."""
        words = [trial.words(self.images) for trial in self.trials]
        if self.images:
            words.append(
                f"against fp32 on {self.images} of the images; allowed: "
                f"{self.probability_limit:g} and {self.decisions_limit:.0%}"
                f"{', known from an earlier run' if self.remembered else ''}"
            )
        if self.reason:
            words.append(self.reason)
        return (
            f"precision: {self.used} ({'; '.join(words)})" if words else f"precision: {self.used}"
        )


@dataclass(frozen=True)
class Answers:
    """How logits become probabilities and decisions.

    Attributes:
        temperature: of the softmax.
        points: index of a class, and its threshold.
    """

    temperature: float
    points: tuple[tuple[int, float], ...] = ()
    distances: str | None = None
    """file with the statistics of the training images; ``None``: not assessable"""
    fence: float | None = None

    @classmethod
    def of(
        cls, temperature: float, classes: Sequence[str], points: Sequence[DecisionPoint]
    ) -> Answers:
        """From a bundle's temperature and operating points."""
        places = tuple((classes.index(p.positive_class), p.threshold) for p in points)
        return cls(temperature, places)

    def decisions(self, probabilities: Floats) -> Ints:
        """(n, 1 + points): the most probable class, and whether each point is reached."""
        columns = [probabilities.argmax(axis=1)]
        columns += [probabilities[:, place] >= threshold for place, threshold in self.points]
        return np.column_stack(columns).astype(np.int64)

    def compare(
        self,
        exact: Floats,
        lower: Floats,
        distances: tuple[Floats, Floats] | None = None,
    ) -> tuple[float, int]:
        """How much the lower precision changes probabilities and decisions.

        Args:
            exact: logits in float32, (n, k).
            lower: logits in the lower precision, (n, k).
            distances: (n,) in float32 and in the lower precision; whether they lead to a caution
                is a decision, too.

        Returns:
            The largest change of a probability (infinity where one is not finite), and the number
            of images for which a decision changes.
        """
        if not np.isfinite(lower).all():
            return float("inf"), len(lower)
        before, after = (softmax(logits, self.temperature) for logits in (exact, lower))
        changed = (self.decisions(before) != self.decisions(after)).any(axis=1)
        if distances is not None and self.fence is not None:
            far, far_lower = (values > self.fence for values in distances)
            changed |= far != far_lower
        return float(np.abs(before - after).max()), int(changed.sum())


def choose_precision(
    asked: PrecisionPolicy,
    exact: EngineSpec,
    answers: Answers,
    sample: Sample,
    *,
    images: int,
    quantise: Callable[[Pixels], EngineSpec] | None = None,
    executor: Executor | None = None,
) -> tuple[EngineSpec, PrecisionOutcome]:
    """The engine to score with: the requested one if within the limits, else the next.

    Results are cached for this kind of processor.

    Args:
        asked: the requested policy.
        exact: the network in float32.
        answers: how logits become decisions.
        sample: up to ``limits.PARITY_IMAGES`` images; read only for a check that is not cached.
        images: number to be scored.
        quantise: the network in int8, from (n, size, size) images; ``None``: not available.
        executor: runs the check; ``None``: this process.

    Returns:
        The engine, and how it was chosen.

    Raises:
        PlatformError: ``int8`` is requested and its library is missing.
    """
    needed = limits.PARITY_WORTH_IMAGES if asked == "auto" else limits.PARITY_IMAGES_MIN
    if asked == "fp32" or images < needed:
        reason = "" if asked == "fp32" else f"a lower one is tried from {needed} images on"
        return exact, PrecisionOutcome(asked=asked, used="fp32", reason=reason)
    comparison = _Comparison(exact, answers, sample, executor or ThisProcess())
    trials: list[Trial] = []
    used, reason = exact, ""
    try:
        for precision in _order(asked, images):
            if why := _no_gain(precision, exact, asked, quantise is not None):
                trials.append(Trial(precision=precision, passed=False, reason=why))
                continue
            if precision == "int8" and quantise is not None:
                spec = quantise(comparison.pixels)
            else:
                spec = exact.in_precision(precision, limits.ENGINE_BATCH_LOWER)
            trials.append(comparison.trial(spec, must_save_time=asked == "auto"))
            if trials[-1].passed:
                used = spec
                break
    except _TooFewError as error:
        reason = str(error)
    return used, PrecisionOutcome(
        asked=asked,
        used=used.precision,
        images=comparison.images,
        sample_id=comparison.sample_id if comparison.images else None,
        trials=tuple(trials),
        remembered=comparison.images > 0 and comparison.remembered,
        reason=reason,
    )


def _order(asked: PrecisionPolicy, images: int) -> tuple[Precision, ...]:
    """The precisions to try, lowest first; int8 unasked only for many images."""
    if asked == "auto":
        return _ORDER if images >= limits.INT8_WORTH_IMAGES else _ORDER[1:]
    return _ORDER[_ORDER.index(asked) :] if asked != "fp32" else ()


class _TooFewError(Exception):
    """Too few images of the sample are readable."""


class _Comparison:
    """Compares precisions on one sample, whose images float32 runs on at most once."""

    def __init__(
        self, exact: EngineSpec, answers: Answers, sample: Sample, executor: Executor
    ) -> None:
        self._exact, self._answers, self._sample = exact, answers, sample
        self._executor = executor
        self._exactly: EngineAnswers | None = None
        self.images = 0

    @functools.cached_property
    def sample_id(self) -> str:
        return self._sample.content_id

    @functools.cached_property
    def rows(self) -> pa.Table:
        return self._sample.rows()

    @property
    def remembered(self) -> bool:
        return self._exactly is None

    @property
    def pixels(self) -> Pixels:
        """Of the readable images, (n, size, size)."""
        pixels = standard_pixels(self.rows, self._sample.settings)
        _check_enough(len(pixels))
        return pixels

    def trial(self, spec: EngineSpec, *, must_save_time: bool) -> Trial:
        """Compare a precision with float32, unless an earlier call has.

        Args:
            spec: of the lower precision.
            must_save_time: it fails if it saves too little; not on a GPU, whose time is not the
                processor's.
        """
        speed_id = value_id(["speed", self._exact.engine_id, spec.engine_id, *_machine(spec)])
        parts: list[Any] = [self._answers.temperature, *map(list, self._answers.points)]
        if self._answers.distances is not None:
            content = Path(self._answers.distances).read_bytes()
            parts += [self._answers.fence, bytes_id(content)]
        key = value_id([spec.engine_id, *_machine(spec), self.sample_id, parts])
        must_save_time = must_save_time and spec.kind != "torch"
        speeds = cache.recall(cache.Speeds, speed_id) if must_save_time else None
        if speeds is not None and (slower := _slower(speeds)):
            return Trial(precision=spec.precision, passed=False, reason=slower)
        known = cache.recall(cache.Compared, key)
        if known is None or (must_save_time and speeds is None):
            exact, lower = self._run(spec)
            if lower is None:
                reason = "does not run on this processor"
                return Trial(precision=spec.precision, passed=False, reason=reason)
            speeds = cache.Speeds(exact.milliseconds, lower.milliseconds)
            cache.remember(speed_id, speeds)
            if must_save_time and (slower := _slower(speeds)):
                return Trial(precision=spec.precision, passed=False, reason=slower)
            moved, changed = self._answers.compare(
                exact.logits, lower.logits, (exact.distances, lower.distances)
            )
            known = cache.Compared(len(exact.logits), moved, changed)
            cache.remember(key, known)
        self.images = known.images
        return Trial(
            precision=spec.precision,
            passed=known.moved <= limits.PARITY_PROBABILITY_MAX
            and known.changed <= limits.PARITY_DECISIONS_MAX * known.images,
            probability_moved=min(known.moved, 1.0),
            decisions_changed=known.changed,
        )

    def _run(self, spec: EngineSpec) -> tuple[EngineAnswers, EngineAnswers | None]:
        """Answers in float32 and in a lower precision; ``None``: this processor has it not."""
        engines = (spec,) if self._exactly is not None else (self._exact, spec)
        work = TrialWork(engines, self._sample.settings, self._answers.distances)
        answers = run_trial(work, self.rows, self._executor)
        exact = self._exactly or answers.get(self._exact.engine_id)
        _check_enough(0 if exact is None else len(exact.logits))
        assert exact is not None
        self._exactly = exact
        return exact, answers.get(spec.engine_id)


def _check_enough(images: int) -> None:
    if images < limits.PARITY_IMAGES_MIN:
        raise _TooFewError(
            f"{images} images of the sample are readable, and a check needs "
            f"{limits.PARITY_IMAGES_MIN}"
        )


def _slower(speeds: cache.Speeds) -> str:
    """Why a precision saves too little on this machine, as measured; empty if it does not."""
    if speeds.lower <= speeds.exact * limits.PRECISION_GAIN_MAX:
        return ""
    return f"takes {speeds.lower:.2g} ms an image and fp32 {speeds.exact:.2g}: too little gain"


def _machine(spec: EngineSpec) -> list[str]:
    """What the outputs depend on, apart from the network."""
    if spec.kind == "openvino":
        return [machine.processor_id()]
    import torch  # noqa: PLC0415 - see below

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return [machine.processor_id(), torch.__version__, gpu]


def _no_gain(
    precision: Precision, exact: EngineSpec, asked: PrecisionPolicy, can_quantise: bool
) -> str:
    """Why a precision is not tried on this machine; empty if it is."""
    if exact.kind == "torch":
        return _no_gain_in_torch(precision)
    if precision == "int8":
        if not can_quantise and asked == "auto":
            return f"needs the package nncf: {how_to_install('int8')}"
        if not can_quantise:
            raise PlatformError(
                f"int8 needs the package nncf: {how_to_install('int8')}, or choose another "
                "--precision"
            )
        return ""
    gains = _BF16_FLAGS if precision == "bf16" else _FP16_FLAGS
    asked_for = asked == precision == "fp16"
    if asked_for or gains & machine.processor().flags:
        return ""
    runs = precision.upper() in capabilities()
    return "is no faster on this processor" if runs else "does not run on this processor"


def _no_gain_in_torch(precision: Precision) -> str:
    # Inside: torch is imported already where the torch engine is chosen.
    import torch  # noqa: PLC0415

    if precision == "int8":
        return "is for the OpenVINO engine"
    if not torch.cuda.is_available():
        return "is for the OpenVINO engine and for GPUs"
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "does not run on this GPU"
    return ""
