"""Images with something covered: the lungs, all but the lungs, all but the border, burned-in text.

One lung region serves all images. The outline of an image's own lungs would reveal its class even
blacked out: the simple segmentation excludes opacities, and so do some manual masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np
import pyarrow as pa

from pulmospark.chunks.carried import Carry
from pulmospark.core import files, hashing, schemas
from pulmospark.core.arrays import Floats, Mask, Pixels, Singles
from pulmospark.data.ingest.pixels import pixels_of
from pulmospark.imaging.decode import Decoded, decode
from pulmospark.imaging.lung_segmentation import find_lungs
from pulmospark.imaging.read_file import read_bytes
from pulmospark.inference.engine.open_engine import open_engine
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.store.folders import file_here

_LUNGS_SHARE = 0.05
"""share of images that have lungs at a place, from which it is within the region"""
_BORDER = 0.12
_LETTER_GREY = 235
_LETTER_SHARE = 0.01


def lungs_of(image: Pixels, mask_uri: str | None) -> Mask:
    """Lungs of a standard image: from its mask file, else segmented by a simple method.

    Args:
        image: (size, size) uint8.
        mask_uri: file of a mask; one that cannot be read counts as none.

    Returns:
        (size, size) bool.
    """
    data = read_bytes(mask_uri) if mask_uri else None
    mask = decode(data, at_least=image.shape[0]) if isinstance(data, bytes) else None
    if not isinstance(mask, Decoded):
        return find_lungs(image)
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.resize(mask.grey, size, interpolation=cv2.INTER_AREA) > 127, np.bool_)


def lung_region(lungs: Mask) -> Mask:
    """Lung region: pixels that are lung in at least one image in twenty.

    Args:
        lungs: (n, size, size), of images; see :func:`lungs_of`.

    Returns:
        (size, size) bool.
    """
    return np.asarray(lungs.mean(axis=0) >= _LUNGS_SHARE, np.bool_)


def without_lungs(image: Pixels, region: Mask) -> Pixels:
    """Black where lungs may be; (h, w)."""
    return np.where(region, 0, image).astype(np.uint8)


def only_lungs(image: Pixels, region: Mask) -> Pixels:
    """Black except where lungs may be; (h, w)."""
    return np.where(region, image, 0).astype(np.uint8)


def only_border(image: Pixels, region: Mask) -> Pixels:
    """Black except for the outer 12 % of each side; (h, w)."""
    del region
    edge = round(_BORDER * image.shape[0])
    border = image.copy()
    border[edge:-edge, edge:-edge] = 0
    return border


def without_text(image: Pixels, region: Mask) -> Pixels:
    """Small bright marks outside the region inpainted from their surroundings; (h, w)."""
    bright = ((image >= _LETTER_GREY) & ~region).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bright)
    small = stats[:, cv2.CC_STAT_AREA] < _LETTER_SHARE * image.size
    small[0] = False
    marks = small[labels].astype(np.uint8)
    if count < 2 or not marks.any():
        return image
    marks = cv2.dilate(marks, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.inpaint(image, marks, 3, cv2.INPAINT_TELEA), np.uint8)


def whole(image: Pixels, region: Mask) -> Pixels:
    """The image as it is; (h, w)."""
    del region
    return image


COVERS: Mapping[str, Callable[[Pixels, Mask], Pixels]] = MappingProxyType(
    {
        "whole": whole,
        "without lungs": without_lungs,
        "only lungs": only_lungs,
        "only border": only_border,
        "without text": without_text,
    }
)


@dataclass(frozen=True)
class CoverWork:
    """Turns images into logits and deep features of a network under each of :data:`COVERS`.

    Attributes:
        engine: the network, which gives logits and features.
        size: side of the images, pixels.
        wanted: JSON file: the ``uri`` of the ``images`` that are scored, and the ``region`` of
            their lungs, rows of it as 0 and 1.
        wanted_id: of its content.
    """

    engine: EngineSpec
    size: int
    wanted: str
    wanted_id: str
    columns: Sequence[str] = ("image_id", "uri", "pixels")

    def carried(self, carry: Carry) -> CoverWork:
        """See :class:`pulmospark.chunks.carried.Carrying`."""
        return replace(self, engine=self.engine.carried(carry), wanted=carry(self.wanted))

    def key(self, chunk: pa.Table) -> str:
        """The network, the choice and the images."""
        ids = [chunk["image_id"].to_pylist(), chunk["uri"].to_pylist()]
        return hashing.value_id(
            ["cover-3", self.engine.engine_id, self.wanted_id, self.size, *ids]
        )

    def __call__(self, chunk: pa.Table) -> Mapping[str, pa.Table]:
        """Rows of ``scores`` and ``covered`` (``model`` is the cover), and of ``features``."""
        wanted = files.read_json(file_here(self.wanted))
        names, region = set(wanted["images"]), np.asarray(wanted["region"], np.bool_)
        mask = [uri in names for uri in chunk["uri"].to_pylist()]
        chunk = chunk.filter(pa.array(mask))
        if not chunk.num_rows:
            return {}
        images = pixels_of(chunk["pixels"], self.size)
        engine = open_engine(self.engine)
        scores, covered_features, features = [], [], None
        for name, cover in COVERS.items():
            covered = np.stack([cover(image, region) for image in images])
            logits, deep = engine.run(covered)
            if logits is None or deep is None:
                raise ValueError("the engine returns no logits or no features")
            features = deep if features is None else features
            scores.append(_rows(chunk, name, logits.astype(np.float64)))
            covered_features.append(_features(chunk, name, deep))
        assert features is not None
        return {
            "scores": pa.concat_tables(scores),
            "covered": pa.concat_tables(covered_features),
            "features": pa.table(
                [
                    chunk["image_id"],
                    chunk["uri"],
                    pa.array(list(features), pa.list_(pa.float32())),
                ],
                schema=schemas.FEATURES,
            ),
        }


COVERED = pa.schema(
    [("uri", pa.string()), ("model", pa.string()), ("features", pa.list_(pa.float32()))]
)
"""Deep features of covered images; ``model`` is the cover."""


def _features(chunk: pa.Table, name: str, features: Singles) -> pa.Table:
    return pa.table(
        [
            chunk["uri"],
            pa.array([name] * chunk.num_rows, pa.string()),
            pa.array(list(features.astype(np.float32)), pa.list_(pa.float32())),
        ],
        schema=COVERED,
    )


def _rows(chunk: pa.Table, name: str, logits: Floats) -> pa.Table:
    return pa.table(
        [
            chunk["image_id"],
            chunk["uri"],
            pa.array([name] * chunk.num_rows, pa.string()),
            pa.array(list(logits), pa.list_(pa.float64())),
        ],
        schema=schemas.SCORES,
    )
