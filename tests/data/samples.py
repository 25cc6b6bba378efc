"""Image files of many kinds, good and bad, and the tables that an ingest makes of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from pulmospark.config.source import SourceSettings
from pulmospark.core.schemas import RejectReason
from pulmospark.phantoms.broken_files import bomb

SIDE = 96


def grey(number: int = 0) -> NDArray[np.uint8]:
    """(96, 96) uint8, smooth, without symmetry, another for each number."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    waves = np.sin((columns + 7 * number) / (9 + number % 5)) * np.cos((rows - number) / 13)
    return np.asarray(128 + 100 * waves, np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file's bytes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(number: int = 0) -> bytes:
    """A grey PNG, another for each number."""
    return saved(Image.fromarray(grey(number)), "PNG")


def jpeg(number: int = 0) -> bytes:
    """A grey JPEG, another for each number."""
    return saved(Image.fromarray(grey(number)), "JPEG", quality=95)


def _animated(kind: str) -> bytes:
    frames = [Image.fromarray(grey(number)).convert("RGB") for number in range(3)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def good_files() -> dict[str, tuple[bytes, str]]:
    """Files that are images: name -> bytes and the format of the content."""
    image = Image.fromarray(grey())
    deep = Image.fromarray(grey().astype(np.uint16) * 257)
    colour = Image.merge("RGB", [image] * 3)
    return {
        "grey.jpg": (saved(image, "JPEG", quality=98), "jpeg"),
        "rgb.jpeg": (saved(colour, "JPEG", quality=98), "jpeg"),
        "jpeg_named.png": (saved(image, "JPEG", quality=98), "jpeg"),
        "webp_named.png": (saved(colour, "WEBP", lossless=True), "webp"),
        "grey.png": (saved(image, "PNG"), "png"),
        "deep.png": (saved(deep, "PNG"), "png"),
        "palette.png": (saved(image.convert("P"), "PNG"), "png"),
        "rgba.PNG": (saved(colour.convert("RGBA"), "PNG"), "png"),
        "image.tif": (saved(image, "TIFF"), "tiff"),
        "image.bmp": (saved(image, "BMP"), "bmp"),
        "image.webp": (saved(colour, "WEBP", lossless=True), "webp"),
    }


def bad_files() -> dict[str, tuple[bytes, RejectReason]]:
    """Files that are no images: name -> bytes and why."""
    image = Image.fromarray(grey())
    whole = jpeg()
    return {
        "truncated.jpg": (whole[: len(whole) // 2], RejectReason.TRUNCATED),
        "truncated.png": (png()[:-2000], RejectReason.TRUNCATED),
        "empty.jpg": (b"", RejectReason.EMPTY),
        "text.png": (
            b"<html>404, not found: the image is not here</html>",
            RejectReason.NOT_AN_IMAGE,
        ),
        "bomb.png": (bomb(b""), RejectReason.TOO_MANY_PIXELS),
        "printed.jpg": (saved(image.convert("CMYK"), "JPEG"), RejectReason.CMYK),
        "moving.gif": (_animated("GIF"), RejectReason.ANIMATED),
        "moving.webp": (_animated("WEBP"), RejectReason.ANIMATED),
        "tiny.png": (saved(image.resize((8, 8)), "PNG"), RejectReason.TOO_SMALL),
    }


def plant(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by their path below ``root``."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def images(count: int, finding: str = "covid", first: int = 0) -> dict[str, bytes]:
    """PNG images of one finding, by their path in a class folder."""
    return {f"{finding}/{n:03d}.png": png(n) for n in range(first, first + count)}


def source(root: Path, **options: Any) -> SourceSettings:
    """A class-per-folder source."""
    return SourceSettings(path=root, layout="class_folders", name="set", **options)


def rows_of(folder: Path, table: str) -> dict[str, dict[str, Any]]:
    """Rows of a table that ingest wrote, by the file's name below its class folder."""
    rows = pq.read_table(folder / table).to_pylist()
    found = {Path(row["uri"]).name: row for row in rows}
    assert len(found) == len(rows)
    return found


def content_of(folder: Path) -> list[list[dict[str, Any]]]:
    """All rows of images and rejects, in an order that does not depend on the parts."""
    return [
        sorted(pq.read_table(folder / name).to_pylist(), key=lambda row: str(row["uri"]))
        for name in ("images", "rejects")
    ]
