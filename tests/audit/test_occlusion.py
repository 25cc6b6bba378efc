"""Covers of images, and what executors do with a chunk of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pulmospark.audit import occlusion
from pulmospark.audit.occlusion import COVERED, COVERS, CoverWork
from pulmospark.core import schemas
from pulmospark.imaging.lung_segmentation import find_lungs
from pulmospark.inference.engine.spec import EngineOutput, EngineSpec

SIDE = 48


def _image(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 200, (SIDE, SIDE)).astype(np.uint8)


def _smooth() -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.asarray(60 + rows + 2 * columns, np.uint8)


def test_a_mask_goes_before_the_simple_method(tmp_path: Path) -> None:
    image = _smooth()
    mask = np.zeros((4 * SIDE, 4 * SIDE), np.uint8)
    mask[40:120, 20:90] = 255
    mask[120, 20:90] = 128  # a quarter of the row of pixels below: not half
    path = tmp_path / "mask.png"
    Image.fromarray(mask).save(path)
    found = occlusion.lungs_of(image, str(path))
    expected = np.zeros((SIDE, SIDE), bool)
    # Half of the pixels' column at 22 lies in the mask, which ends at 90 / 4 = 22.5.
    expected[10:30, 5:22] = True
    half = mask.reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3))
    np.testing.assert_array_equal(found, half > 127)
    np.testing.assert_array_equal(found[:, :22], expected[:, :22])
    assert found.dtype == np.bool_
    for missing in (None, "", str(tmp_path / "none.png")):
        np.testing.assert_array_equal(occlusion.lungs_of(image, missing), find_lungs(image))
    path.write_bytes(b"no image")
    np.testing.assert_array_equal(occlusion.lungs_of(image, str(path)), find_lungs(image))


def test_a_mask_keeps_the_shape_of_the_image(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    found = occlusion.lungs_of(np.zeros((16, 24), np.uint8), str(tmp_path / "mask.png"))
    assert found.shape == (16, 24)
    assert found[:, :12].all()
    assert not found[:, 12:].any()


def test_black_is_what_each_cover_hides() -> None:
    image = _image()
    region = np.zeros((SIDE, SIDE), bool)
    region[10:30, 8:40] = True
    covered = {name: cover(image, region) for name, cover in COVERS.items()}
    assert list(covered) == ["whole", "without lungs", "only lungs", "only border",
                             "without text"]  # fmt: skip
    np.testing.assert_array_equal(covered["whole"], image)
    np.testing.assert_array_equal(covered["without lungs"], image * ~region)
    np.testing.assert_array_equal(covered["only lungs"], image * region)
    edge = 6  # 12 % of 48 is 5.76
    border = image.copy()
    border[edge : SIDE - edge, edge : SIDE - edge] = 0
    np.testing.assert_array_equal(covered["only border"], border)
    assert {one.dtype for one in covered.values()} == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(image, _image())  # nothing is done to the image itself


def _painted(image: np.ndarray, region: np.ndarray) -> set[tuple[int, int]]:
    found = occlusion.without_text(image, region)
    return {(int(row), int(column)) for row, column in np.argwhere(found != image)}


def _box(rows: range, columns: range) -> set[tuple[int, int]]:
    return {(row, column) for row in rows for column in columns}


def test_letters_are_small_bright_marks_outside_the_lungs() -> None:
    region = np.zeros((SIDE, SIDE), bool)
    region[20:30, 20:30] = True
    image = _smooth()
    image[4:7, 5:9] = 235
    # The mark and a pixel around it, all of which differ from what stands there afterwards.
    painted = _painted(image, region)
    assert _box(range(4, 7), range(5, 9)) <= painted <= _box(range(3, 8), range(4, 10))
    assert painted - _box(range(4, 7), range(5, 9))
    repaired = occlusion.without_text(image, region)
    assert np.abs(repaired.astype(int) - _smooth())[3:8, 4:10].max() <= 5
    marks = np.zeros((SIDE, SIDE), np.uint8)
    marks[3:8, 4:10] = 1
    np.testing.assert_array_equal(repaired, cv2.inpaint(image, marks, 3, cv2.INPAINT_TELEA))
    image = _smooth()
    image[4:7, 5:9] = 234
    assert not _painted(image, region)
    image[22:25, 22:25] = 255  # within the lungs
    assert not _painted(image, region)


@pytest.mark.parametrize(("area", "is_letter"), [(23, True), (24, False)])
def test_what_is_a_hundredth_of_the_image_is_no_letter(area: int, is_letter: bool) -> None:
    """1 % of 48 x 48 pixels is 23.04."""
    image = _smooth()
    image[40, 2 : 2 + area] = 255
    assert bool(_painted(image, np.zeros((SIDE, SIDE), bool))) == is_letter
    image[4:6, 4:6] = 255  # a small one beside it is painted over, and nothing else
    painted = _painted(image, np.zeros((SIDE, SIDE), bool))
    assert bool(painted & _box(range(39, 42), range(SIDE))) == is_letter
    assert painted & _box(range(3, 7), range(3, 7))


class _Engine:
    """Logits and features that are sums of the pixels."""

    def __init__(self, *, bare: bool = False) -> None:
        self.bare = bare
        self.batches: list[int] = []

    def run(self, pixels: np.ndarray) -> EngineOutput:
        self.batches.append(len(pixels))
        sums = pixels.reshape(len(pixels), -1).sum(axis=1, dtype=np.int64)
        logits = np.stack([sums, -sums, 2 * sums], axis=1).astype(np.float32)
        return EngineOutput(logits, None if self.bare else logits[:, :2] / np.float32(2))


def _spec(engine_id: str = "e") -> EngineSpec:
    return EngineSpec(
        kind="openvino", folder="/nowhere", engine_id=engine_id, model="m", outputs="both",
        size=SIDE, classes=3, width=2, mean=(0.0,), std=(1.0,),
    )  # fmt: skip


def _work(folder: Path, images: list[str], region: np.ndarray) -> CoverWork:
    wanted = folder / "sample.json"
    told = {"images": images, "region": region.astype(int).tolist()}
    wanted.write_text(json.dumps(told), encoding="utf-8")
    return CoverWork(_spec(), SIDE, str(wanted), "w")


def _chunk(seeds: list[int]) -> pa.Table:
    return pa.table(
        {
            "image_id": [f"id-{seed}" for seed in seeds],
            "uri": [f"/{seed}" for seed in seeds],
            "pixels": pa.array([_image(seed).tobytes() for seed in seeds], pa.binary()),
        }
    )


def test_each_image_of_the_sample_is_scored_under_each_cover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _Engine()
    opened: list[Any] = []

    def open_engine(spec: EngineSpec) -> _Engine:
        opened.append(spec)
        return engine

    monkeypatch.setattr(occlusion, "open_engine", open_engine)
    region = np.zeros((SIDE, SIDE), bool)
    region[10:30, 8:40] = True
    work = _work(tmp_path, ["/1", "/3", "/9"], region)
    found = work(_chunk([1, 2, 3]))
    assert opened == [_spec()]
    assert engine.batches == [2] * 5
    assert {name: table.schema for name, table in found.items()} == {
        "scores": schemas.SCORES,
        "covered": COVERED,
        "features": schemas.FEATURES,
    }
    scores = {(row["uri"], row["model"]): row for row in found["scores"].to_pylist()}
    covered = {(row["uri"], row["model"]): row for row in found["covered"].to_pylist()}
    assert scores.keys() == covered.keys() == {(uri, name) for uri in ("/1", "/3")
                                               for name in COVERS}  # fmt: skip
    for seed in (1, 3):
        for name, cover in COVERS.items():
            total = float(cover(_image(seed), region).sum())
            row = scores[f"/{seed}", name]
            assert row["image_id"] == f"id-{seed}"
            assert row["logits"] == [total, -total, 2 * total]
            assert covered[f"/{seed}", name]["features"] == [total / 2, -total / 2]
    whole = float(_image(1).sum())
    assert found["features"].to_pylist()[0] == {
        "image_id": "id-1", "uri": "/1", "features": [whole / 2, -whole / 2],
    }  # fmt: skip
    assert found["features"]["uri"].to_pylist() == ["/1", "/3"]
    assert work(_chunk([2])) == {}
    assert work.columns == ("image_id", "uri", "pixels")


def test_an_engine_without_features_is_of_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occlusion, "open_engine", lambda _: _Engine(bare=True))
    work = _work(tmp_path, ["/1"], np.zeros((SIDE, SIDE), bool))
    with pytest.raises(ValueError, match=r"^the engine returns no logits or no features$"):
        work(_chunk([1]))


def test_another_network_sample_or_image_has_another_name(tmp_path: Path) -> None:
    work = _work(tmp_path, ["/1"], np.zeros((SIDE, SIDE), bool))
    chunk = _chunk([1, 2])
    renamed = chunk.set_column(1, "uri", [["/x", "/2"]])
    rehashed = chunk.set_column(0, "image_id", [["x", "id-2"]])
    keys = [
        work.key(chunk),
        work.key(renamed),
        work.key(rehashed),
        replace(work, engine=_spec("other")).key(chunk),
        replace(work, wanted_id="other").key(chunk),
        replace(work, size=SIDE + 1).key(chunk),
    ]
    assert len(set(keys)) == len(keys)
    assert work.key(chunk) == replace(work, wanted="/elsewhere").key(chunk)
    # What an earlier run has scored is found again.
    told = ["cover-3", "e", "w", SIDE, ["id-1", "id-2"], ["/1", "/2"]]
    text = json.dumps(told, separators=(",", ":"))
    assert keys[0] == hashlib.sha256(text.encode()).hexdigest()
