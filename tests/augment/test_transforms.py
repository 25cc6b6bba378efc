"""The augmentation that the how-to adds, and what holds for all."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from pydantic import create_model

from docs.pages import blocks
from pulmospark.augment.apply import apply
from pulmospark.augment.augmenter import Augmenter
from pulmospark.augment.describe import active_transforms
from pulmospark.augment.operations import from_json, to_json
from pulmospark.augment.transforms import registry
from pulmospark.augment.transforms.base import Transform
from pulmospark.config.augment import AugmentSettings

RECORDS = "672b0b6e13024a3f45caf26e6633a403385347e010e028cceaf53fe4439b4510"
"""SHA-256 of records that version 1 drew"""


def settings_of(probability: float, **others: dict[str, float]) -> AugmentSettings:
    every = {name: {"probability": probability} for name in AugmentSettings.model_fields}
    return AugmentSettings.model_validate(every | others)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> type[AugmentSettings]:
    """The transform of the how-to registered, and its settings beside the others."""
    names: dict[str, Any] = {}
    for block in blocks("python"):
        if block.page.name == "new-augmentation.md":
            exec(compile(block.text, "new-augmentation.md", "exec", dont_inherit=True), names)
    transform: Transform[Any] = names["Posterise"]()
    monkeypatch.setattr(registry, "TRANSFORMS", (*registry.TRANSFORMS, transform))
    own = names["PosteriseSettings"]
    return create_model("More", __base__=AugmentSettings, posterise=(own, own()))


def test_the_transform_of_the_how_to_is_drawn_applied_recorded_and_described(
    added: type[AugmentSettings],
) -> None:
    pixels = np.random.default_rng(1).permutation(256).astype(np.uint8).reshape(16, 16)
    only = {each.name: {"probability": 0} for each in registry.TRANSFORMS}
    some = added.model_validate(only | {"posterise": {"probability": 1, "bits": 2}})
    drawn = set()
    for draw in range(60):
        changed, operations = Augmenter(some, 3)(pixels, "image", draw)
        (operation,) = from_json(to_json(operations))
        np.testing.assert_array_equal(apply(pixels, [operation]), changed)
        bits = int(operation.parameters["bits"])
        assert np.unique(changed).size == 2**bits
        np.testing.assert_array_equal(changed, pixels >> (8 - bits) << (8 - bits))
        drawn.add(bits)
    assert drawn == {2, 3, 4, 5, 6, 7, 8}
    (described,) = active_transforms(some)
    assert (described.name, described.strength) == ("posterise", "2 to 8 bits")


def test_a_new_transform_changes_no_other(added: type[AugmentSettings]) -> None:
    with_it = added.model_validate(settings_of(1).model_dump() | {"posterise": {"probability": 1}})
    *others, last = Augmenter(with_it, 5).operations("image", 1)
    assert last.name == "posterise"
    without = added.model_validate(settings_of(1).model_dump())
    assert Augmenter(without, 5).operations("image", 1) == tuple(others)


def test_records_stay_the_same_from_version_to_version() -> None:
    strong = {
        "rotation": {"degrees": 90, "probability": 0.7},
        "zoom": {"share": 0.9, "probability": 1},
        "erase": {"area": 0.8, "probability": 1},
        "clahe": {"clip_limit": 30, "tiles": 3, "probability": 0.5},
        "shift": {"share": 0.4, "probability": 0.5},
    }
    digest = hashlib.sha256()
    for which in (settings_of(1), settings_of(0.5), AugmentSettings(), settings_of(0.6, **strong)):
        for seed in (0, 7, 12345):
            for number in range(40):
                drawn = Augmenter(which, seed).operations(f"image-{number}", number % 5)
                digest.update(to_json(drawn).encode())
    assert digest.hexdigest() == RECORDS


def test_file_settings_and_record_have_one_name_and_slots_are_used_once() -> None:
    names = [each.name for each in registry.TRANSFORMS]
    assert set(names) == set(AugmentSettings.model_fields)
    assert len(names) == len(set(names))
    slots = [each.slot for each in registry.TRANSFORMS]
    assert sorted(slots) == list(range(len(slots)))
    for each in registry.TRANSFORMS:
        assert type(each).__module__.rpartition(".")[2] == each.name
        assert type(each).__name__ == each.name.capitalize()
