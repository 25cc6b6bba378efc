"""Heat maps of a bundle's network: the one implementation behind predict, the API and audits."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pulmospark.core.arrays import Ints
from pulmospark.core.errors import UsageError
from pulmospark.core.store_uri import place_of_text
from pulmospark.core.suggestions import did_you_mean
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.explain.heat_map import HeatMap, relative_heat
from pulmospark.inference.explain.lungs import share_outside_lungs
from pulmospark.inference.explain.maps import MapOutput, MapSource, Method, MethodChoice
from pulmospark.inference.explain.prepare import new_maps, prepare_maps
from pulmospark.inference.explain.seen import Image, Seen, seen

if TYPE_CHECKING:  # it imports torch
    from pulmospark.models.bundle.bundle import Bundle


class Explainer:
    """Computes heat maps with one network. Calls from several threads are serialised.

    Attributes:
        method: how, see :data:`pulmospark.inference.explain.maps.Method`.
        classes: names of the classes, in the order of the logits.

    Example:
        >>> explainer = Explainer.open("runs/mine/bundle")
        >>> image = np.full((128, 128), 80, np.uint8)
        >>> explainer.explain(image).raw.dtype
        dtype('float32')
    """

    def __init__(self, source: MapSource, classes: Sequence[str]) -> None:
        self._source = source
        self.classes = tuple(classes)

    @property
    def method(self) -> Method:
        """How maps are computed."""
        return self._source.method

    @classmethod
    def open(
        cls,
        bundle: Bundle | Path | str,
        method: MethodChoice = "auto",
        *,
        engine: EngineSpec | None = None,
        threads: int = 1,
    ) -> Explainer:
        """Open a bundle for heat maps.

        Args:
            bundle: a bundle that was read, its folder, or the folder of its run.
            method: see :data:`pulmospark.inference.explain.maps.MethodChoice`.
            engine: that scores, if there is one; ``None``: the bundle's, converted once per
                machine.
            threads: of one run.

        Raises:
            BundleError: the bundle is missing or damaged.
            UsageError: the network does not support the method.
            PlatformError: no space, or no right to write.
        """
        read = _read(bundle)
        folder = Path(tempfile.mkdtemp(prefix="pulmospark-"))
        try:
            if engine is None:
                # Inside: it imports torch, which an engine that is there does not need.
                from pulmospark.inference.engine.bundle_engine import (  # noqa: PLC0415
                    bundle_engine,
                )

                engine = bundle_engine(read, folder)
            source = new_maps(prepare_maps(read, engine, folder, method), threads)
            explainer = cls(source, read.config.classes)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        weakref.finalize(explainer, shutil.rmtree, folder, ignore_errors=True)
        return explainer

    def explain(self, image: Image, class_name: str | None = None) -> HeatMap:
        """The heat map of one image.

        Args:
            image: see :data:`pulmospark.inference.explain.seen.Image`.
            class_name: the class whose evidence is shown; ``None``: the most probable one.

        Raises:
            UsageError: the image has another size than the network's, or the class is unknown.
        """
        return self.explain_many([image], None if class_name is None else [class_name])[0]

    def explain_many(
        self, images: Sequence[Image], class_names: Sequence[str] | None = None
    ) -> list[HeatMap]:
        """The heat maps of images.

        Args:
            images: see :data:`pulmospark.inference.explain.seen.Image`.
            class_names: of each image; ``None``: the most probable ones.

        Raises:
            UsageError: as :meth:`explain`.
        """
        if not images:
            return []
        return self.heat_maps(images, self.run(images, class_names))

    def run(self, images: Sequence[Image], class_names: Sequence[str] | None = None) -> MapOutput:
        """The network's outputs for one or more images; arguments of :meth:`explain_many`."""
        places = None if class_names is None else self._places(class_names)
        return self._source.run(np.stack([seen(image).pixels for image in images]), places)

    def heat_maps(self, images: Sequence[Image], output: MapOutput) -> list[HeatMap]:
        """The heat maps of images that were run.

        Args:
            images: as given to :meth:`run`.
            output: of :meth:`run`.
        """
        return [
            heat_map_of(seen(image), output, place, self.method, self.classes)
            for place, image in enumerate(images)
        ]

    def _places(self, class_names: Sequence[str]) -> Ints:
        for name in class_names:
            if name not in self.classes:
                raise UsageError(
                    f"class {name!r}: not of this model{did_you_mean(name, self.classes)}; "
                    f"choose one of {', '.join(self.classes)}"
                )
        return np.asarray([self.classes.index(name) for name in class_names], np.int64)


def heat_map_of(
    seen: Seen, output: MapOutput, place: int, method: Method, classes: Sequence[str]
) -> HeatMap:
    """The heat map of one of the images of a run.

    Args:
        seen: the image.
        output: of the run.
        place: of the image in it.
        method: of the run.
        classes: in the order of the logits.
    """
    raw = output.raw[place]
    outside = None
    if seen.frontal:
        heat = relative_heat(raw, len(seen.pixels))
        outside = share_outside_lungs(seen.pixels, heat, seen.placement)
    return HeatMap(
        raw=raw,
        method=method,
        class_name=classes[int(output.places[place])],
        placement=seen.placement,
        standard=seen.pixels,
        outside_lungs=outside,
        phantom=seen.phantom,
    )


def _read(bundle: Bundle | Path | str) -> Bundle:
    if not isinstance(bundle, (str, os.PathLike)):
        return bundle
    # Inside: it imports torch.
    from pulmospark.models.bundle.bundle import read_bundle  # noqa: PLC0415

    return read_bundle(place_of_text(os.fspath(bundle)))
