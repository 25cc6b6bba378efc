"""A lower precision is used only where its answers are float32's on the images themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn
from numpy.typing import NDArray
from scipy.special import softmax as reference_softmax

from pulmospark.core import limits, machine
from pulmospark.core.errors import PlatformError
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.openvino_compile import capabilities
from pulmospark.inference.engine.openvino_engine import OpenVinoEngine
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.precision import check
from pulmospark.inference.precision.check import Answers, choose_precision
from pulmospark.inference.precision.int8 import quantised
from pulmospark.inference.precision.sample import GivenSample
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.network import Network

SIZE = 32
IMAGES = 40
MANY = limits.PARITY_WORTH_IMAGES
_LOGITS = drawn.arrays(np.float64, (6, 3), elements=st.floats(-20, 20))


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(4)
    return networks.build("basic_cnn", 3).eval()


@pytest.fixture(scope="module")
def exact(network: Network, tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    folder = tmp_path_factory.mktemp("engines")
    return prepare_engine(network, folder, size=SIZE, kind="openvino")


@pytest.fixture(scope="module")
def other(exact: EngineSpec) -> EngineSpec:
    """Another network, which claims to be the same one in int8."""
    torch.manual_seed(5)
    network = networks.build("basic_cnn", 3).eval()
    made = prepare_engine(network, Path(exact.folder).parent, size=SIZE, kind="openvino")
    return made.model_copy(update={"precision": "int8"})


@dataclass(frozen=True)
class _Unread:
    """A sample that must not be read."""

    content_id: str = "none"

    def rows(self) -> pa.Table:
        raise AssertionError("the sample was read")


def _sample(count: int = IMAGES) -> GivenSample:
    return GivenSample(_images(count))


def _images(count: int = IMAGES) -> NDArray[np.uint8]:
    return np.random.default_rng(8).integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)


def _bf16_gains(monkeypatch: pytest.MonkeyPatch, flags: set[str]) -> None:
    """As though this machine's processor were one with these flags."""
    made = machine.Processor("made up", frozenset(flags))
    monkeypatch.setattr(machine, "processor", lambda: made)
    monkeypatch.setattr(check, "capabilities", lambda: frozenset({"BF16", "FP16", "INT8"}))


@given(_LOGITS, _LOGITS, st.floats(0.05, 100), st.floats(0, 1))
def test_compares_what_users_see(
    one: NDArray[np.float64], two: NDArray[np.float64], temperature: float, threshold: float
) -> None:
    moved, changed = Answers(temperature, ((1, threshold),)).compare(one, two)
    before, after = (reference_softmax(logits / temperature, axis=1) for logits in (one, two))
    assert moved == pytest.approx(np.abs(before - after).max(), abs=1e-9)
    differing = [
        int(np.argmax(a)) != int(np.argmax(b)) or (a[1] >= threshold) != (b[1] >= threshold)
        for a, b in zip(before, after, strict=True)
    ]
    # Rounding decides of images that lie on a threshold to the last digit.
    near = [
        min(abs(a[1] - threshold), abs(b[1] - threshold)) < 1e-9
        for a, b in zip(before, after, strict=True)
    ]
    ties = [len(set(np.sort(row)[-2:].round(9))) == 1 for rows in (before, after) for row in rows]
    if not any(near) and not any(ties):
        assert changed == sum(differing)


def test_non_finite_logits_never_pass() -> None:
    logits = np.zeros((4, 2))
    broken = logits.copy()
    broken[2, 1] = np.nan
    assert Answers(1.0).compare(logits, broken) == (float("inf"), 4)
    assert Answers(1.0).compare(logits, logits) == (0.0, 0)


def test_another_network_is_detected_and_float32_is_used(
    exact: EngineSpec, other: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    _bf16_gains(monkeypatch, set())
    answers = Answers(0.05)
    chosen, outcome = choose_precision(
        "int8", exact, answers, _sample(), images=IMAGES, quantise=lambda _: other
    )
    assert chosen is exact
    assert outcome.used == "fp32"
    assert [trial.precision for trial in outcome.trials] == ["int8", "bf16", "fp16"]
    assert (outcome.trials[0].probability_moved or 0) > limits.PARITY_PROBABILITY_MAX
    assert outcome.trials[1].reason == "is no faster on this processor"
    assert "int8 moved a probability by" in outcome.line()
    assert "\n" not in outcome.line()


def test_a_precision_that_saves_no_time_is_not_used_unasked(
    exact: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    _bf16_gains(monkeypatch, {"amx_bf16"})
    monkeypatch.setattr(limits, "PRECISION_GAIN_MAX", 0.0)
    chosen, outcome = choose_precision("auto", exact, Answers(5.0), _sample(), images=MANY)
    assert (outcome.used, chosen) == ("fp32", exact)
    reasons = {trial.precision: trial.reason for trial in outcome.trials}
    assert re.fullmatch(
        r"takes [\d.e-]+ ms an image and fp32 [\d.e-]+: too little gain", reasons["bf16"]
    )
    # Asked for, it is used.
    assert choose_precision("bf16", exact, Answers(5.0), _sample(), images=MANY)[1].used == "bf16"


def test_a_precision_that_agrees_is_used_and_cached(
    exact: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    _bf16_gains(monkeypatch, {"amx_bf16"})
    monkeypatch.setattr(limits, "PRECISION_GAIN_MAX", float("inf"))
    # At this temperature bf16's rounding is far below the limits; without units for it
    # OpenVINO computes in float32.
    chosen, outcome = choose_precision("auto", exact, Answers(5.0), _sample(), images=MANY)
    assert (outcome.used, chosen.precision) == ("bf16", "bf16")
    assert (outcome.images, outcome.remembered) == (IMAGES, False)
    assert chosen.folder == exact.folder
    assert chosen.engine_id != exact.engine_id
    assert choose_precision("auto", exact, Answers(5.0), _sample(), images=MANY)[1].remembered
    others = Answers(6.0)  # another temperature, other probabilities
    assert not choose_precision("auto", exact, others, _sample(), images=MANY)[1].remembered


def test_on_a_processor_that_gains_nothing_no_image_is_read(
    exact: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    _bf16_gains(monkeypatch, {"avx2", "avx512f"})

    for policy, images in (("auto", MANY), ("bf16", 31), ("auto", MANY - 1), ("fp32", MANY)):
        chosen, outcome = choose_precision(policy, exact, Answers(1.0), _Unread(), images=images)  # type: ignore[arg-type]
        assert chosen is exact
        assert outcome.used == "fp32"
        assert outcome.line().startswith("precision: fp32")


def test_too_few_readable_images_prove_nothing(
    exact: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    _bf16_gains(monkeypatch, {"avx512_bf16"})
    chosen, outcome = choose_precision("auto", exact, Answers(1.0), _sample(31), images=MANY)
    assert chosen is exact
    assert "31 images of the sample are readable, and a check needs 32" in outcome.line()


def test_int8_without_its_library_names_the_remedy(exact: EngineSpec) -> None:
    with pytest.raises(PlatformError, match=r"pip install .*'\.\[int8\]'"):
        choose_precision("int8", exact, Answers(1.0), _sample(), images=MANY)


def test_int8_is_made_once_and_near_float32(
    exact: EngineSpec, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    images = _images()
    spec = quantised(exact, images)
    assert capsys.readouterr().out == ""
    assert quantised(exact, images) == spec
    assert spec.engine_id != quantised(exact, images[:33]).engine_id
    text = (Path(spec.folder) / "model.xml").read_text(encoding="utf-8")
    assert "FakeQuantize" in text
    lower, before = open_engine(spec).run(images).logits, open_engine(exact).run(images).logits
    assert lower is not None
    assert before is not None
    assert 0 < np.abs(lower - before).max() < 0.2 * np.ptp(before)


@pytest.mark.skipif("BF16" not in capabilities(), reason="this processor has no bf16")
def test_the_engine_calculates_in_the_requested_precision(exact: EngineSpec) -> None:
    images = _images(5)
    spec = exact.in_precision("bf16", 4)
    engine = open_engine(spec)
    assert isinstance(engine, OpenVinoEngine)
    assert engine.precision == "bf16"
    lower, before = engine.run(images).logits, open_engine(exact).run(images).logits
    assert lower is not None
    assert before is not None
    assert 0 < np.abs(lower - before).max() < 0.05


def test_torch_has_the_lower_precisions_too(network: Network, tmp_path: Path) -> None:
    spec = prepare_engine(network, tmp_path, size=SIZE, kind="torch")
    before = open_engine(spec).run(_images(5)).logits
    lower = open_engine(spec.in_precision("bf16", 4)).run(_images(5)).logits
    assert before is not None
    assert lower is not None
    assert 0 < np.abs(lower - before).max() < 0.05
    # On a CPU it is not tried: OpenVINO is there for that.
    if not torch.cuda.is_available():
        outcome = choose_precision("bf16", spec, Answers(1.0), _sample(), images=MANY)[1]
        assert outcome.trials[0].reason == "is for the OpenVINO engine and for GPUs"
