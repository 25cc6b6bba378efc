from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.core.schemas import RejectReason, View
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import StandardImage, image_from_bytes, read_image
from pulmospark.imaging.standardise import perceptual_hash

SETTINGS = IngestSettings(size=64)


def rejection(path: Path | str) -> Rejected:
    result = read_image(str(path), SETTINGS)
    assert isinstance(result, Rejected)
    return result


@pytest.fixture
def image_file(tmp_path: Path, drawn: NDArray[np.uint8]) -> Path:
    path = tmp_path / "image.jpg"  # the name is wrong on purpose
    Image.fromarray(drawn).save(path, "PNG")
    return path


def test_a_image_has_all_that_a_row_needs(image_file: Path) -> None:
    image = read_image(str(image_file), SETTINGS)
    assert isinstance(image, StandardImage)
    data = image_file.read_bytes()
    assert image.image_id == hashlib.sha256(data).hexdigest()
    assert (image.format, image.size_bytes) == ("png", len(data))
    assert (image.height, image.width) == (120, 160)
    pixels = image.pixels
    assert image.phash == perceptual_hash(pixels)
    again = image_from_bytes(data, SETTINGS)
    assert isinstance(again, StandardImage)
    assert np.array_equal(again.pixels, pixels)
    assert (again.image_id, again.phash) == (image.image_id, image.phash)


def test_a_link_is_followed(image_file: Path) -> None:
    link = image_file.with_name("link")
    link.symlink_to(image_file)
    found, wanted = read_image(str(link), SETTINGS), read_image(str(image_file), SETTINGS)
    assert isinstance(found, StandardImage)
    assert isinstance(wanted, StandardImage)
    assert found.image_id == wanted.image_id
    assert np.array_equal(found.pixels, wanted.pixels)


def test_the_view_does_not_depend_on_the_fit(shared_data: Path) -> None:
    data = next((shared_data / "CC-CCII-layout").rglob("*.png")).read_bytes()
    for fit in ("stretch", "pad", "crop"):
        image = image_from_bytes(data, IngestSettings(size=224, fit=fit))
        assert isinstance(image, StandardImage)
        assert image.view is View.AXIAL


def test_a_reject_keeps_the_id_of_bytes_that_could_be_read(tmp_path: Path) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(b"this is a text")
    found = rejection(path)
    assert found.reason == RejectReason.NOT_AN_IMAGE
    assert found.image_id == hashlib.sha256(b"this is a text").hexdigest()


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    assert rejection(path).reason == RejectReason.EMPTY


def test_vanished(tmp_path: Path, image_file: Path) -> None:
    for path in (tmp_path / "gone.png", image_file / "below a file.png"):
        found = rejection(path)
        assert (found.reason, found.image_id) == (RejectReason.VANISHED, None)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    for path in (tmp_path, tmp_path / "pipe.png", loop, tmp_path / ("x" * 300), "nul\0.png"):
        assert rejection(path).reason == RejectReason.UNREADABLE


def test_permission_and_io_errors(monkeypatch: pytest.MonkeyPatch, image_file: Path) -> None:
    # The superuser may read everything: the refusal of the system is put in its place.
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", "/some/path")

    monkeypatch.setattr(os, "open", refuse)
    found = rejection(image_file)
    assert (found.reason, found.detail) == (RejectReason.UNREADABLE, "Permission denied")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(limits.FILE_BYTES_MAX + 1)  # sparse: no disk is used
    found = rejection(path)
    assert (found.reason, found.image_id) == (RejectReason.TOO_MANY_BYTES, None)


def test_image_of_a_jpeg_is_level_with_its_png(shared_data: Path) -> None:
    path = sorted((shared_data / "nih-chest-xray14" / "images").iterdir())[0]
    file = io.BytesIO()
    Image.open(path).convert("L").save(file, "JPEG", quality=95)
    settings = IngestSettings()
    one = image_from_bytes(path.read_bytes(), settings)
    other = image_from_bytes(file.getvalue(), settings)
    assert isinstance(one, StandardImage)
    assert isinstance(other, StandardImage)
    pixels = [image.pixels.astype(float) for image in (one, other)]
    assert np.abs(pixels[0] - pixels[1]).mean() < 1
    assert one.image_id != other.image_id


def test_a_jpeg_named_jfif_is_a_image(shared_cases: Path) -> None:
    image = read_image(str(shared_cases / "f20-jfif-jpe" / "r30_jfif_ext.jfif"), IngestSettings())
    assert isinstance(image, StandardImage)
    assert image.format == "jpeg"
    assert abs(image.pixels.mean() - 116.7) < 0.05  # of the PNG it was made from
