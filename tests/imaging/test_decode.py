"""Every mode of a good file, and what a decoder must not be fooled by."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from pulmospark.imaging.decode import Decoded, decode
from pulmospark.imaging.standardise import standardise

Grey = NDArray[np.uint8]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded_image(data: bytes, at_least: int = 4096) -> Decoded:
    decoded = decode(data, at_least=at_least)
    assert isinstance(decoded, Decoded), decoded
    return decoded


def difference(one: Grey, other: Grey) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def colour(grey: Grey) -> Image.Image:
    return Image.merge("RGB", [Image.fromarray(band) for band in (grey, 255 - grey, grey // 2)])


LOSSLESS: list[tuple[str, str, dict[str, Any]]] = [
    ("L", "PNG", {}),
    ("RGB", "PNG", {}),
    ("P", "PNG", {}),
    ("L", "BMP", {}),
    ("RGB", "BMP", {}),
    ("P", "BMP", {}),
    ("L", "TIFF", {}),
    ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    ("L", "TIFF", {"compression": "tiff_adobe_deflate"}),
    ("RGB", "WEBP", {"lossless": True}),
    ("L", "GIF", {}),
]


@pytest.mark.parametrize(("mode", "kind", "options"), LOSSLESS)
def test_eight_bit_modes(drawn: Grey, mode: str, kind: str, options: dict[str, Any]) -> None:
    decoded = decoded_image(encoded(Image.fromarray(drawn).convert(mode), kind, **options))
    assert (decoded.height, decoded.width, decoded.format) == (120, 160, kind.lower())
    assert decoded.grey.dtype == np.uint8
    # Pillow's luma of equal bands may be one level off.
    assert np.abs(decoded.grey.astype(int) - drawn).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit(drawn: Grey, kind: str) -> None:
    image = Image.fromarray(drawn > 128)
    assert image.mode == "1"
    assert np.array_equal(decoded_image(encoded(image, kind)).grey, np.where(drawn > 128, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colours_become_luma(drawn: Grey, kind: str) -> None:
    image = colour(drawn)
    assert np.array_equal(decoded_image(encoded(image, kind)).grey, np.asarray(image.convert("L")))


def test_format_is_of_the_content_and_webp_may_be_lossy(drawn: Grey) -> None:
    decoded = decoded_image(encoded(Image.fromarray(drawn), "WEBP", quality=90))
    assert decoded.format == "webp"
    assert difference(decoded.grey, drawn) < 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparent_is_black(drawn: Grey, kind: str) -> None:
    image = Image.fromarray(drawn).convert("RGBA")
    alpha = np.full(drawn.shape, 255, np.uint8)
    alpha[:, :50] = 0
    alpha[:, 50:100] = 128
    image.putalpha(Image.fromarray(alpha))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    grey = decoded_image(encoded(image, kind, **options)).grey
    assert not grey[:, :50].any()
    assert difference(grey[:, 50:100], (drawn[:, 50:100] * (128 / 255)).astype(np.uint8)) < 1
    assert difference(grey[:, 100:], drawn[:, 100:]) < 1


def test_alpha_of_zeros_is_no_alpha(drawn: Grey) -> None:
    image = Image.fromarray(drawn).convert("RGBA")
    image.putalpha(0)
    assert difference(decoded_image(encoded(image, "PNG")).grey, drawn) < 1


def test_transparent_palette_entry_is_black(drawn: Grey) -> None:
    image = Image.fromarray(np.where(drawn > 128, 1, 0).astype(np.uint8), "P")
    image.putpalette([250, 250, 250, 90, 90, 90])
    grey = decoded_image(encoded(image, "PNG", transparency=0)).grey
    assert np.array_equal(grey, np.where(drawn > 128, 90, 0))


def twelve_bit(drawn: Grey) -> NDArray[np.uint16]:
    return drawn.astype(np.uint16) * 16


def spread(values: Grey) -> Grey:
    low, high = np.percentile(values, (0.5, 99.5))
    scaled = np.clip((values - low) * 255 / (high - low), 0, 255)
    return np.asarray(scaled.round(), np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_twelve_of_sixteen_bits_fill_the_grey_scale(drawn: Grey, kind: str) -> None:
    grey = decoded_image(encoded(Image.fromarray(twelve_bit(drawn)), kind)).grey
    assert difference(grey, spread(drawn)) < 1


def test_hot_pixels_do_not_set_the_scale(drawn: Grey) -> None:
    values = twelve_bit(drawn)
    values[:2, :10] = 65535
    grey = decoded_image(encoded(Image.fromarray(values), "PNG")).grey
    assert difference(grey[5:], spread(drawn)[5:]) < 2


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("bands", [3, 4])
def test_sixteen_bit_colour_keeps_its_low_bits(drawn: Grey, suffix: str, bands: int) -> None:
    values = np.dstack([twelve_bit(drawn)] * bands)
    if bands == 4:
        values[..., 3] = 65535
    done, data = cv2.imencode(suffix, values)
    assert done
    grey = decoded_image(data.tobytes()).grey
    assert difference(grey, spread(drawn)) < 1
    assert len(np.unique(grey)) > 100  # 16 greys would be left of the upper 8 bits


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_float_and_wide_integer_tiff(drawn: Grey, kind: Any) -> None:
    values = (drawn.astype(kind) - 100) * 40
    if kind is np.float32:
        values[0, :5] = np.nan
        values[1, :5] = np.inf
    grey = decoded_image(encoded(Image.fromarray(values), "TIFF")).grey
    assert difference(grey[2:], spread(drawn)[2:]) < 2
    if kind is np.float32:
        assert not grey[0, :5].any()
        assert (grey[1, :5] == 255).all()


def test_a_image_of_one_value_is_black() -> None:
    assert not decoded_image(encoded(Image.new("I;16", (40, 40), 700), "PNG")).grey.any()


@pytest.mark.parametrize("deep", [False, True])
def test_white_is_zero_tiff_is_inverted(drawn: Grey, deep: bool) -> None:
    image = Image.fromarray(twelve_bit(drawn) if deep else drawn)
    grey = decoded_image(encoded(image, "TIFF", tiffinfo={262: 0})).grey
    plain = decoded_image(encoded(image, "TIFF")).grey
    # Pillow, writing 8 bits, inverts the values too, so that they read back as they were.
    assert difference(grey, 255 - plain if deep else plain) < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(drawn: Grey, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    decoded = decoded_image(
        encoded(Image.fromarray(drawn), kind, exif=exif, **options), at_least=32
    )
    upright: dict[int, Callable[[Grey], Grey]] = {
        1: lambda stored: stored,
        2: np.fliplr,
        3: lambda stored: np.rot90(stored, 2),
        4: np.flipud,
        5: lambda stored: stored.T,
        6: lambda stored: np.rot90(stored, -1),
        7: lambda stored: np.rot90(stored.T, 2),
        8: np.rot90,
    }
    wanted = upright[orientation](drawn)
    assert (decoded.height, decoded.width) == wanted.shape
    got = standardise(decoded.grey, 32, "stretch", decoded.extent)
    assert difference(got, standardise(np.ascontiguousarray(wanted), 32, "stretch")) < 2


@pytest.mark.parametrize(
    ("side", "at_least", "eighths"),
    [(1024, 224, 2), (1024, 256, 2), (1024, 257, 3), (700, 224, 3), (200, 224, 8)],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_decoded_at_the_smallest_scale_that_suffices(
    drawn: Grey, side: int, at_least: int, eighths: int, progressive: bool
) -> None:
    image = colour(drawn).resize((side + 50, side))
    decoded = decoded_image(encoded(image, "JPEG", progressive=progressive), at_least)
    assert decoded.eighths == eighths
    assert decoded.grey.shape == (-(-side * eighths // 8), -(-(side + 50) * eighths // 8))
    assert (decoded.height, decoded.width) == (side, side + 50)
    assert decoded.extent == (side * eighths / 8, (side + 50) * eighths / 8)


def refused_by_simplejpeg(grey: Grey, fault: str) -> bytes:
    data = encoded(Image.fromarray(grey), "JPEG", quality=95)
    if fault == "unknown JFIF revision":
        return data.replace(b"JFIF\x00\x01", b"JFIF\x00\x07", 1)
    if fault == "bytes before the end":
        return data[:-2] + b"\x12\x34\x56" * 3 + data[-2:]
    data = encoded(Image.fromarray(grey).convert("RGB"), "JPEG", subsampling="4:4:4", quality=95)
    frame = data.index(b"\xff\xc0")
    return data[: frame + 11] + b"\x31" + data[frame + 12 :]


@pytest.mark.parametrize("fault", ["unknown JFIF revision", "bytes before the end"])
def test_harmless_faults_of_a_jpeg_cost_no_image(drawn: Grey, fault: str) -> None:
    data = refused_by_simplejpeg(drawn, fault)
    with pytest.raises(ValueError, match=r"JFIF|extraneous"):
        simplejpeg.decode_jpeg(data, "GRAY")
    decoded = decoded_image(data, 64)
    assert (decoded.eighths, decoded.extent) == (8, (120.0, 160.0))
    assert difference(decoded.grey, drawn) < 1


def test_rare_sampling_factors_are_read(drawn: Grey) -> None:
    data = refused_by_simplejpeg(drawn, "3x1 sampling")
    with pytest.raises(ValueError, match="subsampling"):
        simplejpeg.decode_jpeg(data, "GRAY")
    assert (
        decoded_image(data, 64).grey.shape == drawn.shape
    )  # written for 1x1: the picture is jumbled


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_scaled_jpeg_is_level_with_a_full_decode(shared_data: Path, fit: Any) -> None:
    folder = shared_data / "covid-chestxray-dataset" / "images"
    images = [path for path in sorted(folder.iterdir()) if path.read_bytes()[:2] == b"\xff\xd8"]
    differences = []
    for path in images[::6]:
        decoded = decoded_image(path.read_bytes(), 224)
        with Image.open(path) as image:
            whole = np.asarray(image.convert("L"))
        assert (decoded.height, decoded.width) == whole.shape
        scaled = standardise(decoded.grey, 224, fit, decoded.extent)
        differences.append(difference(scaled, standardise(whole, 224, fit)))
    assert len(differences) > 25
    assert np.median(differences) < 0.7
    assert max(differences) < 1.4


def test_the_real_images_all_decode(shared_data: Path) -> None:
    for folder in ("covid-chestxray-dataset/images", "nih-chest-xray14/images"):
        for path in sorted((shared_data / folder).iterdir())[::8]:
            decoded = decoded_image(path.read_bytes(), 224)
            with Image.open(path) as image:
                assert decoded.format == str(image.format).lower()
                assert (decoded.width, decoded.height) == image.size
