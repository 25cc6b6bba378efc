"""Heat maps as objects: in the original's coordinates, in words, as pictures and files."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.errors import PlatformError
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.imaging.placement import Placement
from pulmospark.inference.explain import HeatMap
from pulmospark.inference.explain.heat_map import hottest_of, relative_heat
from pulmospark.inference.explain.lungs import share_outside_lungs
from pulmospark.phantoms.draw import draw_image, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 112


def hot_field(row: int, column: int, grid: int = 7) -> np.ndarray:
    raw = np.full((grid, grid), -1.0, np.float32)
    raw[row, column] = 3.0
    return raw


def heat_map(raw: np.ndarray, shape: tuple[int, int] = (SIZE, SIZE), fit: str = "pad") -> HeatMap:
    placement = Placement.of(shape, shape, SIZE, fit)  # type: ignore[arg-type]
    return HeatMap(raw, "cam", "COVID-19", placement, np.full((SIZE, SIZE), 90, np.uint8))


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (90, 90)])
def test_a_map_has_the_originals_shape_and_lies_between_0_and_1(
    shape: tuple[int, int], fit: str
) -> None:
    heat = heat_map(hot_field(3, 3), shape, fit)
    assert heat.map.shape == shape
    assert heat.map.dtype == np.float32
    assert heat.map.min() == 0
    assert heat.map.max() == pytest.approx(1.0, abs=0.1)
    middle = np.unravel_index(int(heat.map.argmax()), shape)
    assert middle == pytest.approx((shape[0] / 2, shape[1] / 2), abs=max(shape) / 14)


def test_heat_is_that_of_the_grid_and_negative_evidence_is_none() -> None:
    raw = np.array([[2.0, -5.0], [1.0, 0.0]], np.float32)
    heat = relative_heat(raw, 4)
    assert heat[0, 0] == 1.0
    assert heat[3, 0] == 0.5
    assert heat[0, 3] == 0
    for broken in (-raw.clip(0), np.full_like(raw, np.nan), np.full_like(raw, np.inf), raw[:0]):
        assert not relative_heat(broken, 4).any()


def test_the_hottest_part_has_its_share() -> None:
    random = np.random.default_rng(1)
    heat = random.random((50, 60), np.float32)
    hot = hottest_of(heat, 0.1)
    assert hot.mean() == pytest.approx(0.1, abs=0.001)
    assert heat[hot].min() > heat[~hot].max()
    assert not hottest_of(np.zeros((5, 5), np.float32), 0.1).any()
    one = np.zeros((10, 10), np.float32)
    one[2, 3] = 1.0
    assert hottest_of(one, 0.1).sum() == 1
    assert hottest_of(np.ones((5, 5), np.float32), 0.1).all()  # none is chosen before another


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (0, 0, "upper left of the image"),
        (3, 3, "in the centre of the image"),
        (6, 3, "lower centre of the image"),
        (3, 6, "middle right of the image"),
    ],
)
def test_the_place_is_said_in_words(row: int, column: int, words: str) -> None:
    text = heat_map(hot_field(row, column)).hottest_tenth()
    assert words in text
    assert text[0].isdigit()
    assert " % in the " in text


def test_no_evidence_is_said_and_drawn() -> None:
    heat = heat_map(-hot_field(1, 1).clip(0))
    assert "no evidence for COVID-19" in heat.where()
    assert not heat.map.any()
    assert not heat.hottest().any()
    assert heat.overlay().startswith(b"\x89PNG")


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_a_picture_is_coloured_where_it_is_hot_and_grey_elsewhere() -> None:
    picture = opened(heat_map(hot_field(1, 5), (400, 400)).overlay(np.full((400, 400), 90, "u1")))
    assert picture.size[0] == 400
    assert picture.size[1] > 400  # the legend below
    pixels = np.asarray(picture, np.int16)
    colour = pixels.max(axis=2) - pixels.min(axis=2)
    assert colour[86, 314] > 60
    assert colour[300, 100] == 0
    assert pixels[300, 100].tolist() == [90, 90, 90]
    assert picture.info["Disclaimer"] == "Not a medical device."
    assert "COVID-19" in picture.info["Title"]
    phantom = opened(replace(heat_map(hot_field(1, 5)), phantom=True).overlay())
    assert phantom.info["Disclaimer"].startswith("Phantom. ")


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (2500, 2000), (64, 64)])
def test_pictures_of_any_original_are_of_bounded_size(shape: tuple[int, int]) -> None:
    heat = heat_map(hot_field(3, 3), shape)
    for content in (heat.overlay(), heat.overlay(np.zeros(shape, np.uint8))):
        width, height = opened(content).size
        assert width <= limits.HEAT_MAP_PICTURE_SIDE_MAX
        assert height <= limits.HEAT_MAP_PICTURE_SIDE_MAX + 200


@pytest.mark.parametrize("name", ["肺炎", "x" * 500, "<b>&\u202e", "a\nb", ""])
def test_any_class_name_can_be_drawn(name: str) -> None:
    heat = replace(heat_map(hot_field(3, 3)), class_name=name)
    assert opened(heat.overlay()).size[0] >= limits.HEAT_MAP_PICTURE_SIDE_MIN
    assert "<b>" not in heat._repr_html_()
    assert heat._repr_png_().startswith(b"\x89PNG")


def test_files_are_written_whole(tmp_path: Path) -> None:
    heat = heat_map(hot_field(2, 2), (200, 300))
    picture, array = heat.save(tmp_path / "new", "abc")
    assert [picture.name, array.name] == ["abc.png", "abc.npy"]
    np.testing.assert_array_equal(np.load(array, allow_pickle=False), heat.map)
    assert opened(picture.read_bytes()).format == "PNG"
    assert [path.name for path in heat.save(tmp_path, "x", picture=False)] == ["x.npy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "x.npy"]
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(PlatformError):
        heat.save(tmp_path / "file", "abc")


@pytest.fixture(scope="module")
def phantom() -> StandardImage:
    random = np.random.default_rng(4)
    person = random_person(random, HOSPITALS[0], Finding.NORMAL)
    content = encode(draw_image(person, HOSPITALS[0], random))
    image = image_from_bytes(content, IngestSettings(size=SIZE, fit="pad"))
    assert isinstance(image, StandardImage)
    return image


def test_the_share_outside_the_lungs(phantom: StandardImage) -> None:
    pixels, placement = phantom.pixels, phantom.placement
    assert placement is not None
    in_lung = relative_heat(hot_field(4, 2, 9), SIZE)  # the left of the image
    above = relative_heat(hot_field(0, 4, 9), SIZE)
    inside = share_outside_lungs(pixels, in_lung, placement)
    outside = share_outside_lungs(pixels, above, placement)
    assert inside is not None
    assert outside is not None
    assert inside < 0.35
    assert outside > 0.9


def test_lungs_that_are_not_found_are_said_to_be_none(phantom: StandardImage) -> None:
    heat = relative_heat(hot_field(4, 2, 9), SIZE)
    placement = Placement.identity(SIZE)
    assert share_outside_lungs(np.full((SIZE, SIZE), 128, np.uint8), heat, placement) is None
    assert share_outside_lungs(phantom.pixels, 0 * heat, placement) is None
    cut = Placement.of((500, 500), (500, 500), SIZE, "pad", box=(100, 100, 300, 300))
    assert share_outside_lungs(phantom.pixels, heat, cut) is None
