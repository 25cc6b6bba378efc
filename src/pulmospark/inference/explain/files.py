"""Heat maps of a batch as files, each named by its image's content."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pulmospark.config.inference import HeatMapFiles
from pulmospark.core import files
from pulmospark.core.hashing import value_id
from pulmospark.inference.engine.spec import EngineSpec
from pulmospark.inference.explain.maps import MapOutput, Method
from pulmospark.inference.explain.prepare import MapSpec
from pulmospark.inference.explain.seen import Seen
from pulmospark.store.folders import put_files
from pulmospark.store.uri import is_store_uri, parse_uri

if TYPE_CHECKING:
    from pulmospark.inference.explain.heat_map import HeatMap

FOLDER = "heat_maps"
"""subfolder of an output with the files"""
COLUMNS = ("heat_map", "outside_lungs", "hottest_tenth")
"""of the predictions table"""

_CONTENT_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HeatFiles:
    """Writes the heat maps of images; plain values, since it is sent to the workers.

    Attributes:
        maps: what computes them.
        classes: in the order of the logits.
        folder: for the files, where every worker can write, or its address in a store.
        kinds: of files.
    """

    maps: MapSpec
    classes: tuple[str, ...]
    folder: str
    kinds: HeatMapFiles = "png"

    def key(self) -> list[str]:
        """What rows and files depend on."""
        return [self.maps.engine.engine_id, self.maps.method, self.kinds]

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {**asdict(self), "maps": self.maps.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From :meth:`to_json`."""
        maps = MapSpec(EngineSpec.model_validate(value["maps"]["engine"]), value["maps"]["method"])
        return cls(maps, tuple(value["classes"]), value["folder"], value["kinds"])

    def write(
        self, ids: Sequence[str], images: Sequence[Seen], output: MapOutput, method: Method
    ) -> list[dict[str, Any]]:
        """Write the heat maps of a run's images.

        Args:
            ids: ``image_id`` of each image; what is no SHA-256 is hashed before it names a file.
            images: of the run.
            output: of the run.
            method: of the run.

        Returns:
            For each image the values of :data:`COLUMNS`.

        Raises:
            PlatformError: no space, or no right to write there.
        """
        # Inside: drawing, which scoring without heat maps does not need.
        from pulmospark.inference.explain.explainer import heat_map_of  # noqa: PLC0415

        return [
            self._write(image_id, heat_map_of(image, output, place, method, self.classes))
            for place, (image_id, image) in enumerate(zip(ids, images, strict=True))
        ]

    def _write(self, image_id: str, heat: HeatMap) -> dict[str, Any]:
        stem = image_id if _CONTENT_ID.fullmatch(image_id) else value_id([image_id])
        save = partial(
            heat.save, stem=stem, picture=self.kinds != "array", array=self.kinds != "png"
        )
        if is_store_uri(self.folder):
            with tempfile.TemporaryDirectory(prefix="pulmospark-") as name:
                first, *_ = save(Path(name))
                put_files(Path(name), parse_uri(self.folder) / stem[:2])
        else:
            first, *_ = save(Path(self.folder) / stem[:2])
        return {
            "heat_map": f"{FOLDER}/{stem[:2]}/{first.name}",
            "outside_lungs": heat.outside_lungs,
            "hottest_tenth": heat.hottest_tenth(),
        }


def link_files(names: Sequence[str], source: Path, target: Path) -> None:
    """Hard-link the files that a table names into its output folder, or copy them.

    Args:
        names: values of the column ``heat_map``.
        source: folder that the workers wrote to.
        target: of the output.

    Raises:
        OSError: a file is missing, or the disk is full.
    """
    for name in dict.fromkeys(names):
        _, prefix, file = name.split("/")
        stem = Path(file).stem
        folder = target / FOLDER / prefix
        folder.mkdir(parents=True, exist_ok=True)
        for ending in (".png", ".npy"):
            written = source / prefix / f"{stem}{ending}"
            if written.is_file():
                files.link_or_copy(written, folder / written.name)
