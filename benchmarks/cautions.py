"""How many images that are no chests have a caution, and how many chests have one for nothing.

Statistics of ImageNet's features are fitted on frontals of real sets, 70 % of the patients; all
else is held against their fence: the other patients, frontals of a set that was not trained on,
lateral views, CT slices, and DICOM files that are no chests.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.common import PROCESSES, Options, Report, data_folder, scratch, weights_folder
from pulmospark.config.ingest import IngestSettings
from pulmospark.core import limits
from pulmospark.evaluation.intervals import wilson
from pulmospark.imaging.decode import Rejected
from pulmospark.imaging.image import read_images
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import new_engine
from pulmospark.models.bundle.feature_distance import FeatureDistance
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.training.feature_distance import statistics_of

MODELS = ("squeezenet1_1", "mobilenet_v2")
TRAINED = "trained on"
NO_CHESTS = ("RG3_J2KR", "teeth")


class Listed(NamedTuple):
    """An image of the shared sets."""

    path: Path
    kind: str
    """a row of the table"""
    group: str
    """the patient, or the file where none is known"""


def measure(options: Options) -> Report:
    """Every shared image; one in ten for a smoke test."""
    data, weights = data_folder(options), weights_folder()
    if data is None or weights is None:
        raise RuntimeError("the public data sets and weights are needed: name them with --data")
    listed = list_images(data)[:: 10 if options.small else 1]
    pixels, kept = _pixels(listed)
    rows, figures = [], {}
    for model in MODELS[: 1 if options.small else None]:
        network = networks.build(model, 2).eval()
        load_imagenet(network, source=weights)
        with scratch(options) as folder:
            spec = prepare_engine(network, folder, outputs="features", size=224)
            features = new_engine(spec, PROCESSES).run(pixels).features
        assert features is not None
        for kind, (beyond, count) in shares(features, kept).items():
            low, high = wilson(beyond / count, count, 0.95)
            bounds = f"{low:.1%} to {high:.1%}"
            rows.append((model, kind, f"{beyond} of {count}", f"{beyond / count:.1%}", bounds))
            figures[f"{model}, {kind}"] = beyond / count
    return Report(
        name="cautions",
        title="Images beyond the fence of distances from the training images",
        head=("network", "images", "beyond", "share", "95 % CI"),
        rows=rows,
        notes=[f"statistics of at most {limits.DISTANCE_IMAGES_MAX:,} frontals of three sets"],
        figures=figures,
    )


def list_images(data: Path) -> list[Listed]:
    """The shared images, each with what it is."""
    found = []
    sheet = data / "covid-chestxray-dataset"
    with (sheet / "metadata.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kind = "lateral views" if row["view"] == "L" else TRAINED
            found.append(Listed(sheet / "images" / row["filename"], kind, row["patientid"]))
    for path in sorted((data / "COVID-19_Radiography_Dataset").glob("*/images/*")):
        found.append(Listed(path, TRAINED, path.name))
    for path in sorted((data / "chest_xray").glob("*/*/*.jpeg")):
        found.append(Listed(path, TRAINED, path.name.split("_")[0]))
    found += [
        Listed(path, "frontals of another set", path.name)
        for path in sorted((data / "nih-chest-xray14" / "images").iterdir())
    ]
    for folder in ("CC-CCII-layout", "ct-dicom"):
        found += [
            Listed(path, "CT slices", path.parent.name)
            for path in sorted((data / folder).rglob("*"))
            if path.suffix in {".png", ".jpg", ".dcm"}
        ]
    for path in sorted((data / "dicom-cxr").iterdir()):
        other = any(name in path.name for name in NO_CHESTS)
        found.append(Listed(path, "knee and teeth" if other else "DICOM chests", path.name))
    return found


def _pixels(listed: list[Listed]) -> tuple[npt.NDArray[np.uint8], list[Listed]]:
    settings = IngestSettings(body_parts="any")
    made, kept = [], []
    for image in listed:
        images = read_images(str(image.path), settings)
        if not isinstance(images, Rejected):
            made.append(images[0].pixels)
            kept.append(image)
    return np.stack(made), kept


def shares(features: npt.NDArray[np.float32], images: list[Listed]) -> dict[str, tuple[int, int]]:
    """Kind -> images beyond the fence, and images; of those trained on, the patients held out."""
    groups = np.asarray([image.group for image in images])
    kinds = np.asarray([image.kind for image in images])
    held = np.asarray([_is_held(group) for group in groups])
    fitted = np.flatnonzero((kinds == TRAINED) & ~held)[:: _step(kinds, held)]
    statistics = statistics_of(features[fitted], groups[fitted])
    assert statistics is not None
    distance = FeatureDistance.from_bytes(statistics.content, "benchmark")
    beyond = distance.of(features) > statistics.facts.fence
    kinds[(kinds == TRAINED) & held] = "frontals held out"
    return {
        str(kind): (int(beyond[kinds == kind].sum()), int((kinds == kind).sum()))
        for kind in np.unique(kinds)
        if kind != TRAINED
    }


def _step(kinds: npt.NDArray[np.str_], held: npt.NDArray[np.bool_]) -> int:
    return -(-int(((kinds == TRAINED) & ~held).sum()) // limits.DISTANCE_IMAGES_MAX)


def _is_held(group: str) -> bool:
    return hashlib.sha256(group.encode()).digest()[0] < 0.3 * 256
