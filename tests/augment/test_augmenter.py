"""The augmenter: the same from seed, image and draw alone, and the same again from its record."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pulmospark.augment.apply import apply
from pulmospark.augment.augmenter import Augmenter
from pulmospark.augment.operations import from_json, to_json
from pulmospark.augment.random_stream import normal_quantiles, sixteen_bits, unit, words
from pulmospark.augment.transforms.registry import TRANSFORMS, transform
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.parse import parse
from pulmospark.core.errors import InputError, UsageError

GOLDEN_WORDS = (4672080639807105, 3580780033953386, 743997310036307)
NAMES = [each.name for each in TRANSFORMS]
GOLDEN_BITS = [47904, 38671, 10147, 4033, 30096, 38470]
EVERY = AugmentSettings.model_validate({name: {"probability": 1} for name in NAMES})
NONE = AugmentSettings.model_validate({name: {"probability": 0} for name in NAMES})


def image(seed: int, height: int = 40, width: int = 40) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


chances = st.sampled_from([0.0, 0.3, 1.0])
some_settings = st.builds(
    lambda each: AugmentSettings.model_validate(
        {name: {"probability": p} for name, p in zip(NAMES, each, strict=True)}
    ),
    st.lists(chances, min_size=len(NAMES), max_size=len(NAMES)),
)


@settings(max_examples=60, deadline=None)
@given(
    given_settings=some_settings,
    seed=st.integers(0, 2**31 - 1),
    draw=st.integers(0, 10**6),
    key=st.text(max_size=20),
    height=st.integers(1, 50),
    width=st.integers(1, 50),
)
def test_the_record_gives_the_same_pixels_again(
    given_settings: AugmentSettings, seed: int, draw: int, key: str, height: int, width: int
) -> None:
    before = image(seed, height, width)
    kept = before.copy()
    changed, operations = Augmenter(given_settings, seed)(before, key, draw)
    np.testing.assert_array_equal(before, kept)
    assert changed.shape == before.shape
    assert changed.dtype == np.uint8
    assert not np.shares_memory(changed, before)
    parsed = from_json(to_json(operations))
    assert parsed == operations
    np.testing.assert_array_equal(apply(before, parsed), changed)


def test_neither_order_nor_batch_nor_other_images_matter() -> None:
    images = np.stack([image(n) for n in range(12)])
    keys = [f"image-{n}" for n in range(12)]
    augmenter = Augmenter(EVERY, 7)
    whole = augmenter.augment_batch(images, keys, 3)
    backwards = augmenter.augment_batch(images[::-1], keys[::-1], 3)[::-1]
    np.testing.assert_array_equal(whole, backwards)
    for number in range(12):
        alone, _ = Augmenter(EVERY, 7)(images[number], keys[number], 3)
        np.testing.assert_array_equal(alone, whole[number])


def test_another_process_draws_the_same() -> None:
    code = (
        "from pulmospark.augment.augmenter import Augmenter\n"
        "from pulmospark.augment.operations import to_json\n"
        "from pulmospark.config.augment import AugmentSettings\n"
        "print(to_json(Augmenter(AugmentSettings(), 5).operations('image', 2)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = to_json(Augmenter(AugmentSettings(), 5).operations("image", 2))
    assert done.stdout.strip() == here
    assert here != "[]"


@pytest.mark.parametrize("changed", [(6, "image", 2), (5, "another", 2), (5, "image", 3)])
def test_seed_image_and_draw_each_matter(changed: tuple[int, str, int]) -> None:
    seed, key, draw = changed
    assert Augmenter(EVERY, seed).operations(key, draw) != Augmenter(EVERY, 5).operations(
        "image", 2
    )


def test_what_one_operation_is_told_changes_no_other() -> None:
    plain = {operation.name: operation for operation in Augmenter(EVERY, 1).operations("image", 1)}
    other = EVERY.model_copy(update={"noise": NONE.noise, "rotation": EVERY.rotation.model_copy(
        update={"degrees": 90.0})})  # fmt: skip
    others = {
        operation.name: operation for operation in Augmenter(other, 1).operations("image", 1)
    }
    assert "noise" not in others
    assert others["rotation"] != plain["rotation"]
    same = set(plain) - {"noise", "rotation"}
    assert {name: plain[name] for name in same} == {name: others[name] for name in same}


def test_draws_are_as_frequent_and_as_far_as_they_are_told() -> None:
    settings = AugmentSettings.model_validate({name: {"probability": 0.4} for name in NAMES})
    count = 2000
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    for number in range(count):
        for operation in Augmenter(settings, 3).operations(str(number), 1):
            seen[operation.name].append(dict(operation.parameters))
    for name, found in seen.items():
        assert abs(len(found) / count - 0.4) < 0.05, name  # 4.5 standard errors
        assert all(set(parameters) == set(transform(name).parameters) for parameters in found)
    bounds: dict[tuple[str, str], tuple[float, float]] = {
        ("rotation", "degrees"): (-7, 7),
        ("shear", "degrees"): (-3, 3),
        ("shift", "right"): (-0.04, 0.04),
        ("shift", "down"): (-0.04, 0.04),
        ("zoom", "factor"): (1 / 1.08, 1.08),
        ("gamma", "power"): (1 / 1.15, 1.15),
        ("contrast", "factor"): (1 / 1.15, 1.15),
        ("brightness", "share"): (-0.08, 0.08),
        ("noise", "sigma"): (0, 3),
        ("blur", "sigma"): (0, 0.7),
        ("clahe", "clip_limit"): (1, 2),
        ("erase", "grey"): (0, 255),
    }
    for (name, parameter), (low, high) in bounds.items():
        values = np.asarray([parameters[parameter] for parameters in seen[name]])
        reach = high - low
        assert low - 1e-6 <= values.min() < low + reach / 20, name
        assert high - reach / 20 < values.max() <= high + 1e-6, name
    for parameters in seen["erase"]:
        assert 0.01 < parameters["height"] * parameters["width"] < 0.1001
        assert parameters["top"] + parameters["height"] <= 1.000002
        assert parameters["left"] + parameters["width"] <= 1.000002


def test_without_operations_the_image_stays() -> None:
    changed, operations = Augmenter(NONE, 1)(image(1), "image", 1)
    assert operations == ()
    np.testing.assert_array_equal(changed, image(1))


def test_the_defaults_never_swap_the_sides() -> None:
    off = {"flip", "clahe", "equalise", "elastic", "erase"}
    drawn = {
        one.name
        for number in range(500)
        for one in Augmenter(AugmentSettings(), 1).operations(str(number), 1)
    }
    assert drawn == set(NAMES) - off
    assert AugmentSettings().warnings() == ()
    warnings = AugmentSettings.model_validate({"flip": {"probability": 0.5}}).warnings()
    assert "heart" in warnings[0]


def test_numbers_stay_the_same_from_version_to_version() -> None:
    assert words(1, "film", 2, 3) == GOLDEN_WORDS
    assert sixteen_bits(99, 6).tolist() == GOLDEN_BITS


def test_chance_is_even_and_noise_is_normal() -> None:
    drawn = np.asarray([unit(word) for word in words(4, "image", 1, 20_000)])
    assert abs(drawn.mean() - 0.5) < 0.01
    assert abs(drawn.std() - 12**-0.5) < 0.01
    normal = normal_quantiles()[sixteen_bits(4, 200_000)]
    assert abs(float(normal.mean())) < 0.01
    assert abs(float(normal.std()) - 1) < 0.01
    shares = [float((np.abs(normal) < k).mean()) for k in (1, 2, 3)]
    np.testing.assert_allclose(shares, [0.6827, 0.9545, 0.9973], atol=0.005)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '[["turn", {"degrees": 3}]]', '[["rotation", {"angle": 3}]]',
     '[["rotation", {"degrees": "3"}]]', '[["flip", {"degrees": 1}]]', '[["flip", []]]'],
)  # fmt: skip
def test_a_record_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a list of operations"):
        from_json(text)


@pytest.mark.parametrize(
    ("shape", "kind"), [((4, 4), "float32"), ((4, 4, 3), "uint8"), ((0, 4), "uint8")]
)
def test_what_is_no_grey_image_is_refused(shape: tuple[int, ...], kind: str) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        apply(np.zeros(shape, kind), ())


def test_a_batch_has_a_key_a_image() -> None:
    with pytest.raises(ValueError, match="zip"):
        Augmenter(EVERY, 1).augment_batch(np.zeros((2, 8, 8), np.uint8), ["one"], 1)


@pytest.mark.parametrize(
    ("values", "words_in"),
    [
        ({"rotation": {"degrees": 181}}, "rotation.degrees"),
        ({"zoom": {"probability": 1.5}}, "zoom.probability"),
        ({"turn": {}}, "turn"),
        ({"erase": {"area": 0.001}}, "erase.area"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, Any], words_in: str) -> None:
    with pytest.raises(UsageError, match=words_in):
        parse(AugmentSettings, values, where="my.toml")
