from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pulmospark.core.schemas import View
from pulmospark.imaging.decode import Decoded, decode
from pulmospark.imaging.standardise import standardise
from pulmospark.imaging.view import measure_view

Grey = NDArray[np.uint8]


def views(paths: list[Path]) -> list[View | None]:
    found = []
    for path in paths:
        decoded = decode(path.read_bytes(), at_least=224)
        assert isinstance(decoded, Decoded)
        found.append(measure_view(standardise(decoded.grey, 224, "stretch", decoded.extent)))
    return found


def lateral_names(folder: Path) -> set[str]:
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return {row["filename"] for row in csv.DictReader(file) if row["view"] == "L"}


def test_axial_slices_are_found(shared_data: Path) -> None:
    paths = sorted((shared_data / "CC-CCII-layout").rglob("*.[jp][pn]g"))
    assert len(paths) == 144
    assert views(paths).count(View.AXIAL) >= 142


def test_half_of_the_laterals_are_found(shared_data: Path) -> None:
    folder = shared_data / "covid-chestxray-dataset"
    names = lateral_names(folder)
    assert len(names) == 12
    found = views([folder / "images" / name for name in sorted(names)])
    assert found.count(View.LATERAL) >= 6
    assert View.AXIAL not in found


def test_frontals_are_hardly_ever_excluded(shared_data: Path) -> None:
    covid = shared_data / "covid-chestxray-dataset"
    lateral = lateral_names(covid)
    paths = [path for path in sorted((covid / "images").iterdir()) if path.name not in lateral]
    paths += sorted((shared_data / "chest_xray").rglob("*.jpeg"))[::6]
    paths += sorted((shared_data / "COVID-19_Radiography_Dataset").glob("*/images/*.png"))[::4]
    paths += sorted((shared_data / "nih-chest-xray14" / "images").iterdir())[::4]
    found = views(paths)
    assert len(found) > 900
    assert len(found) - found.count(None) <= 0.005 * len(found)


@pytest.mark.parametrize("size", [16, 64, 224, 500])
def test_an_ellipse_in_air_is_axial(size: int) -> None:
    grey = np.full((size, size), 40, np.uint8)
    centre, axes = (size // 2, size // 2), (int(size * 0.45), int(size * 0.3))
    cv2.ellipse(grey, centre, axes, 0, 0, 360, 230, -1)
    assert measure_view(grey) is View.AXIAL


def test_pictures_without_anatomy_get_no_opinion() -> None:
    ramp = np.tile(np.arange(224, dtype=np.uint8), (224, 1))
    noise = np.random.default_rng(5).integers(0, 256, (224, 224), dtype=np.uint8)
    for grey in (np.zeros((224, 224), np.uint8), ramp, ramp.T.copy(), noise):
        assert measure_view(grey) is None
