"""Heat maps on phantoms with a planted opacity, and what they cost.

The pointing game (Zhang et al. 2018): a network learns to detect an opacity that covers a tenth of
the image, planted at random places; how much of the hottest tenth of a map lies inside it? By
chance a tenth would.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.common import Options, Report, weights_folder
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.arrays import Ints, Mask, Pixels
from pulmospark.imaging.image import StandardImage, image_from_bytes
from pulmospark.inference.engine.build import prepare_engine
from pulmospark.inference.engine.open_engine import new_engine
from pulmospark.inference.explain.explainer import heat_map_of
from pulmospark.inference.explain.heat_map import hottest_of, relative_heat
from pulmospark.inference.explain.maps import MapSource
from pulmospark.inference.explain.openvino_maps import OpenVinoMaps
from pulmospark.inference.explain.seen import seen
from pulmospark.inference.explain.torch_maps import TorchMaps
from pulmospark.models.weights.imagenet import load_imagenet
from pulmospark.models.zoo import networks
from pulmospark.models.zoo.logistic_head import set_linear_head
from pulmospark.models.zoo.network import Network
from pulmospark.phantoms.draw import draw_image, encode, random_person
from pulmospark.phantoms.hospitals import HOSPITALS
from pulmospark.phantoms.opacities import Finding

IMAGES, SMALL_IMAGES = 600, 48
EPOCHS = 3
SIZE = 224
AREA = 0.10
"""share of the image that the opacity covers: of the hottest tenth as much lies in it by chance"""
_MODEL = "squeezenet1_1"
_COSTS = ("mobilenet_v2", "squeezenet1_1", "densenet121")
_COST_IMAGES, _COST_ROUNDS = 16, 5


def measure(options: Options) -> Report:
    """The pointing game on the last quarter of the phantoms, and CPU time of maps."""
    images, labels, masks = phantoms(SMALL_IMAGES if options.small else IMAGES)
    count = len(images) * 3 // 4
    network = trained(images[:count], labels[:count], epochs=1 if options.small else EPOCHS)
    tested = np.arange(count, len(images))
    with torch.no_grad():
        said = network(torch.from_numpy(images[tested])).argmax(dim=1).numpy()
    accuracy = float((said == labels[tested]).mean())
    planted = tested[labels[tested] == 1]
    rows: list[tuple[str, ...]] = []
    figures: dict[str, Any] = {"accuracy": accuracy, "images": len(planted)}
    with TemporaryDirectory() as name:
        engine = prepare_engine(network, Path(name), size=SIZE, kind="openvino")
        sources: dict[str, MapSource] = {"cam, in the engine": OpenVinoMaps(engine)}
        for method in ("hires_cam", "grad_cam"):
            sources[f"{method}, in PyTorch"] = TorchMaps(network, SIZE, method)
        for label, source in sources.items():
            inside, point, cover = pointing(source, images[planted], masks[planted])
            rows.append((label, f"{inside:.3f}", f"{point:.3f}", f"{cover:.3f}"))
            figures[label] = {"hottest_tenth": inside, "hottest_point": point, "chance": cover}
        costs = {model: cost(model, Path(name)) for model in _COSTS[: 1 if options.small else 3]}
    return Report(
        name="heat_maps",
        title=f"Heat maps of {len(planted)} phantoms with a planted opacity ({_MODEL}, accuracy "
        f"{accuracy:.3f})",
        head=("method", "hottest tenth inside", "hottest point inside", "by chance"),
        rows=rows,
        notes=[
            f"{model}: CPU ms an image scored {plain:.2f}, with class activation maps {maps:.2f} "
            f"(ratio {maps / plain:.2f}), with pictures {pictures:.2f}"
            for model, (plain, maps, pictures) in costs.items()
        ],
        figures={**figures, "cpu_ms": {model: list(values) for model, values in costs.items()}},
    )


def phantoms(count: int) -> tuple[Pixels, Ints, Mask]:
    """Phantoms without a finding, every other one with an opacity; labels, and where it lies."""
    random = np.random.default_rng(0)
    images = np.zeros((count, SIZE, SIZE), np.uint8)
    masks = np.zeros(images.shape, np.bool_)
    for place in range(count):
        hospital = HOSPITALS[place % len(HOSPITALS)]
        person = random_person(random, hospital, Finding.NORMAL)
        content = encode(draw_image(person, hospital, random))
        image = image_from_bytes(content, IngestSettings(size=SIZE))
        assert isinstance(image, StandardImage)
        images[place] = image.pixels
        if place // len(HOSPITALS) % 2:  # every hospital has as many of both
            images[place], masks[place] = plant(image.pixels, random)
    labels = np.asarray(masks.any(axis=(1, 2)), np.int64)
    return images, labels, masks


def plant(image: Pixels, random: np.random.Generator) -> tuple[Pixels, Mask]:
    """An image with a hazy ellipse over one lung, and where it is."""
    side = image.shape[0]
    ratio, angle = random.uniform(0.7, 1.4), random.uniform(0, np.pi)
    radii = np.sqrt(AREA / np.pi * np.array([ratio, 1 / ratio])) * side
    x = (random.choice([0.3, 0.7]) + random.uniform(-0.04, 0.04)) * side
    y = random.uniform(0.28, 0.68) * side
    down, right = np.mgrid[:side, :side] + 0.5 - np.array([y, x])[:, None, None]
    along = (right * np.cos(angle) + down * np.sin(angle)) / radii[0]
    across = (down * np.cos(angle) - right * np.sin(angle)) / radii[1]
    distance = np.hypot(along, across)
    texture = cv2.GaussianBlur(random.normal(0, 1, image.shape), (0, 0), side / 40)
    share = np.clip((1.05 - distance) * 8, 0, 1) * random.uniform(0.45, 0.75)
    share *= np.clip(1 + 0.25 * texture / texture.std(), 0.3, 1.3)
    grey = image.astype(np.float64)
    grey += np.clip(share, 0, 1) * np.maximum(200 - grey, 0)
    return grey.astype(np.uint8), distance <= 1


def trained(images: Pixels, labels: Ints, *, epochs: int) -> Network:
    """A network with ImageNet weights and a logistic regression as head, then fine-tuned."""
    torch.manual_seed(0)
    network = networks.build(_MODEL, 2).eval()
    load_imagenet(network, source=weights_folder())
    pixels, classes = torch.from_numpy(images), torch.from_numpy(labels)
    with torch.no_grad():
        features = torch.cat(
            [network.features(pixels[at : at + 32]) for at in range(0, len(pixels), 32)]
        ).numpy()
    scaler = StandardScaler().fit(features)
    fit = LogisticRegression(C=0.01, max_iter=500).fit(scaler.transform(features), labels)
    weight = fit.coef_[0] / np.maximum(scaler.scale_, 1e-12)
    bias = fit.intercept_[0] - weight @ scaler.mean_
    set_linear_head(network, np.stack([0 * weight, weight]), np.array([0.0, bias]))
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4, weight_decay=1e-2)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(pixels))
        for at in range(0, len(order), 16):
            part = order[at : at + 16]
            batch = pixels[part].flip(2) if torch.rand(()) < 0.5 else pixels[part]
            loss = torch.nn.functional.cross_entropy(network(batch), classes[part])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return network.eval()


def pointing(source: MapSource, images: Pixels, masks: Mask) -> tuple[float, float, float]:
    """Share of the hottest tenth inside the opacity, of hottest points, and of the image."""
    output = source.run(images, np.ones(len(images), np.int64))
    inside, points = [], []
    for raw, mask in zip(output.raw, masks, strict=True):
        heat = relative_heat(raw, SIZE)
        hot = hottest_of(heat, 0.1)
        inside.append(float(mask[hot].mean()) if hot.any() else 0.0)
        points.append(bool(mask.flat[int(heat.argmax())]) and bool(hot.any()))
    return float(np.mean(inside)), float(np.mean(points)), float(masks.mean())


def cost(model: str, folder: Path) -> tuple[float, float, float]:
    """CPU milliseconds an image: scored, scored with maps, and with pictures of them.

    The best of some rounds, taken in turns.
    """
    torch.manual_seed(0)
    spec = prepare_engine(
        networks.build(model, 3).eval(), folder, outputs="both", size=SIZE, kind="openvino"
    )
    engine, maps = new_engine(spec), OpenVinoMaps(spec)
    images = np.random.default_rng(1).integers(0, 256, (_COST_IMAGES, SIZE, SIZE), np.uint8)

    def pictures() -> None:
        output = maps.run(images)
        for place, image in enumerate(images):
            heat_map_of(seen(image), output, place, "cam", ("a", "b", "c")).overlay()

    programs: tuple[Callable[[], object], ...] = (
        lambda: engine.run(images),
        lambda: maps.run(images),
        pictures,
    )
    best = [np.inf] * len(programs)
    for _ in range(_COST_ROUNDS):
        for place, program in enumerate(programs):
            started = time.process_time()
            program()
            best[place] = min(best[place], time.process_time() - started)
    plain, with_maps, drawn = (1e3 * seconds / _COST_IMAGES for seconds in best)
    return plain, with_maps, drawn
