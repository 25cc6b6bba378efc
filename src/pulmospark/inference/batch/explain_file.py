"""The heat map of one image file, shown on the image as it is in the file."""

from __future__ import annotations

from dataclasses import replace

from pulmospark.config.inference import Allowances
from pulmospark.core import limits
from pulmospark.core.arrays import Pixels
from pulmospark.core.errors import InputError, UsageError
from pulmospark.core.schemas import RejectReason
from pulmospark.imaging.decode import Decoded, Rejected, decode
from pulmospark.imaging.image import StandardImage, images_from_bytes
from pulmospark.imaging.read_file import read_bytes
from pulmospark.inference.batch.cautions import PHANTOM_DETAIL
from pulmospark.inference.explain.explainer import Explainer
from pulmospark.inference.explain.heat_map import HeatMap
from pulmospark.models.bundle.config import BundleConfig


def explain_file(
    explainer: Explainer,
    config: BundleConfig,
    path: str,
    class_name: str | None = None,
    *,
    frame: int | None = None,
    allowances: Allowances,
) -> HeatMap:
    """Compute the heat map of an image file; the same files are refused as in a prediction.

    Args:
        explainer: of the bundle.
        config: of the bundle.
        path: absolute, of the file.
        class_name: the class whose evidence is shown; ``None``: the most probable one.
        frame: from 1, of a file with several; ``None``: it has one.
        allowances: images that are read only on request.

    Raises:
        InputError: the file is missing, or no image that the model scores.
        UsageError: the class is unknown, or ``frame`` does not fit the file.
        SourceUnavailableError: the machine cannot read it.
    """
    data = read_bytes(path)
    settings = allowances.reading(config.ingest)
    images = data if isinstance(data, Rejected) else images_from_bytes(data, settings)
    if isinstance(images, Rejected) or isinstance(data, Rejected):
        assert isinstance(images, Rejected)  # for the type checker
        raise InputError(f"{path}: {images.reason.value}: {images.detail}")
    image = _frame(path, images, frame)
    if config.phantoms and not allowances.allow_phantom_model and not image.phantom:
        raise InputError(f"{path}: {RejectReason.NOT_A_PHANTOM.value}: {PHANTOM_DETAIL}")
    heat = explainer.explain(image, class_name)
    return replace(heat, original=_original(data, config))


def _frame(path: str, images: list[StandardImage], frame: int | None) -> StandardImage:
    if frame is None and len(images) > 1:
        raise UsageError(
            f"{path}: has {len(images)} frames, each a slice: choose one with frame, from 1 to "
            f"{len(images)}"
        )
    place = (frame or 1) - 1
    if not 0 <= place < len(images):
        raise UsageError(f"{path}: frame {frame}: the file's are 1 to {len(images)}")
    return images[place]


def _original(data: bytes, config: BundleConfig) -> Pixels | None:
    """The image as it is in the file; ``None``: the picture shows the standard image."""
    side = limits.HEAT_MAP_PICTURE_SIDE_MAX
    decoded = decode(data, at_least=side, ct_window=config.ct_window)
    return decoded.grey if isinstance(decoded, Decoded) else None
