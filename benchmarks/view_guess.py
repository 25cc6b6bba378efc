"""The view guessed from pixels: how many lateral views and CT slices it finds, and what it costs.

Two ways: the rule that is there, whose bounds were set on these images, and a linear model on
histograms of oriented gradients (Dalal and Triggs 2005), cross-validated: lateral views and CT
slices by patient, frontals by source. Both are held against frontals made hard, too: one lung
white, both, turned, or half of the chest cut off.

Intervals count a patient's images as one, for slices of a scan are alike: that is why few
patients can show little, whatever is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.cautions import TRAINED, Listed, list_images
from benchmarks.common import Options, Report, data_folder
from pulmospark.config.ingest import IngestSettings
from pulmospark.core.schemas import View
from pulmospark.evaluation.intervals import wilson
from pulmospark.imaging.image import StandardImage, read_image
from pulmospark.imaging.view import measure_view

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_SIDE, _GRID, _CELL, _BINS = 64, 16, 8, 9
_FOLDS = 6
_HARD = 1000
_SURE = 0.9
_KINDS = {TRAINED: 0, "frontals of another set": 0, "lateral views": 1, "CT slices": 2}
_NAMES = {1: "lateral views", 2: "CT slices"}
_VIEWS = {None: 0, View.LATERAL: 1, View.AXIAL: 2}


def measure(options: Options) -> Report:
    """Every shared image with a known view; one in ten for a smoke test."""
    data = data_folder(options)
    if data is None:
        raise RuntimeError("the public data sets are needed: name their folder with --data")
    listed = [image for image in list_images(data) if image.kind in _KINDS]
    pixels, images = _read(listed[:: 10 if options.small else 1])
    truth = np.asarray([_KINDS[image.kind] for image in images])
    groups = np.asarray([f"{_source(image.path, data)}:{image.group}" for image in images])
    sources = np.asarray([_source(image.path, data) for image in images])
    random = np.random.default_rng(0)
    chosen = random.permutation(np.flatnonzero(truth == 0))[:_HARD]
    hard = [_made_hard(pixels[place], random) for place in chosen]
    rule = np.asarray([_VIEWS[measure_view(image)] for image in pixels])
    rule_hard = np.asarray([_VIEWS[measure_view(image)] for image in hard])
    cases = Cases(pixels, truth, groups, sources, hard, chosen)
    model, model_hard = _cross_validated(cases)
    rows, figures = [], {}
    for name, found, found_hard in (
        ("rule, not cross-validated", rule, rule_hard),
        ("HOG and a linear model", model, model_hard),
    ):
        for view, title in _NAMES.items():
            rows.append(_row(name, f"{title} found", found == view, truth == view, groups))
            rows.append(
                _row(name, f"frontals taken for {title}", found == view, truth == 0, groups)
            )
            every = np.ones(len(hard), np.bool_)
            rows.append(
                _row(
                    name,
                    f"hard frontals taken for {title}",
                    found_hard == view,
                    every,
                    groups[chosen],
                )
            )
    figures = {f"{row[0]}, {row[1]}": row[3] for row in rows}
    return Report(
        name="view_guess",
        title="The view guessed from pixels",
        head=("way", "images", "count", "share", "95 % CI, a patient counted once"),
        rows=rows,
        notes=[
            "reach, to be on by default: lower bound of those found 90 %, upper bound of "
            "frontals lost 0.2 %",
            f"the linear model is taken at its word from a probability of {_SURE:g}",
        ],
        figures=figures,
    )


def _row(
    way: str,
    title: str,
    hits: npt.NDArray[np.bool_],
    among: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.str_],
) -> tuple[str, str, str, str, str]:
    count = int(among.sum())
    share = float(hits[among].mean()) if count else 0.0
    low, high = wilson(share, max(np.unique(groups[among]).size, 1), 0.95)
    return (
        way,
        title,
        f"{int(hits[among].sum())} of {count}",
        f"{share:.2%}",
        f"{low:.1%} to {high:.1%}",
    )


def _source(path: Path, data: Path) -> str:
    return path.relative_to(data).parts[0]


def _read(listed: list[Listed]) -> tuple[list[Pixels], list[Listed]]:
    pixels, kept = [], []
    for image in listed:
        standard = read_image(str(image.path), IngestSettings())
        if isinstance(standard, StandardImage):
            pixels.append(standard.pixels)
            kept.append(image)
    return pixels, kept


def features_of(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Oriented gradients of 64 x 64 pixels, and greys of 16 x 16; of any contrast."""
    small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    low, high = np.percentile(small, (2, 98))
    scaled = np.clip((small - low) / max(high - low, 1.0) * 255, 0, 255).astype(np.uint8)
    gradients = _oriented(scaled.astype(np.float64))
    greys = cv2.resize(scaled, (_GRID, _GRID), interpolation=cv2.INTER_AREA).ravel() / 255
    return np.concatenate([gradients, greys]).astype(np.float32)


def _oriented(grey: Floats) -> Floats:
    """Histograms of nine orientations in cells of 8 x 8 pixels, normalised in blocks of 2 x 2."""
    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    place = (np.arctan2(down, across) % np.pi) / np.pi * _BINS
    cells = _SIDE // _CELL
    counts = np.zeros((cells, cells, _BINS))
    rows, columns = np.mgrid[:_SIDE, :_SIDE] // _CELL
    lower = np.floor(place).astype(int) % _BINS
    part = place - np.floor(place)
    np.add.at(counts, (rows, columns, lower), strength * (1 - part))
    np.add.at(counts, (rows, columns, (lower + 1) % _BINS), strength * part)
    blocks = np.concatenate(
        [counts[:-1, :-1], counts[:-1, 1:], counts[1:, :-1], counts[1:, 1:]], axis=2
    )
    return np.asarray(blocks / (np.linalg.norm(blocks, axis=2, keepdims=True) + 1.0)).ravel()


def _made_hard(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """A frontal as the sick have it, or as it is taken of them."""
    size = len(pixels)
    rows, columns = np.mgrid[:size, :size] / size
    kind, side = int(random.integers(4)), int(random.integers(2))
    if kind < 2:  # one lung white, or both
        centres = ((0.31, 0.69)[side],) if kind == 0 else (0.31, 0.69)
        grey = pixels.astype(np.float64)
        for centre in centres:
            far = ((rows - 0.45) / 0.31) ** 2 + ((columns - centre) / 0.17) ** 2
            weight = 0.9 * np.exp(-(far**2))
            grey = grey * (1 - weight) + weight * np.percentile(pixels, 90)
        return np.asarray(np.clip(grey, 0, 255), np.uint8)
    if kind == 2:
        turn = cv2.getRotationMatrix2D((size / 2, size / 2), float(random.uniform(-20, 20)), 1.0)
        turned = cv2.warpAffine(pixels, turn, (size, size), borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(turned, np.uint8)
    part = slice(0, int(0.6 * size)) if side else slice(int(0.4 * size), size)
    cut = np.ascontiguousarray(pixels[:, part])
    return np.asarray(cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _moved(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """An image a little turned, scaled, shifted, and mirrored every other time."""
    size = len(pixels)
    turn = cv2.getRotationMatrix2D(
        (size / 2, size / 2), float(random.uniform(-10, 10)), float(random.uniform(0.9, 1.15))
    )
    turn[:, 2] += random.uniform(-0.07, 0.07, 2) * size
    given = np.ascontiguousarray(pixels[:, ::-1]) if random.random() < 0.5 else pixels
    return np.asarray(
        cv2.warpAffine(given, turn, (size, size), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


@dataclass(frozen=True)
class Cases:
    """Images with what they are, and frontals made hard."""

    pixels: list[Pixels]
    truth: npt.NDArray[np.int64]
    groups: npt.NDArray[np.str_]
    sources: npt.NDArray[np.str_]
    hard: list[Pixels]
    chosen: npt.NDArray[np.int64]
    """places of the frontals that were made hard"""


def _cross_validated(cases: Cases) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """What the linear model says of each image, and of each hard frontal, that it has not seen."""
    pixels, hard, chosen = cases.pixels, cases.hard, cases.chosen
    truth, groups, sources = cases.truth, cases.groups, cases.sources
    random = np.random.default_rng(1)
    plain = np.stack([features_of(image) for image in pixels])
    harder = np.stack([features_of(image) for image in hard])
    more: dict[int, Any] = {
        int(place): [
            features_of(_moved(pixels[place], random))
            for _ in range(20 if truth[place] == 1 else 2)
        ]
        for place in np.flatnonzero(truth > 0)
    }
    patients = np.unique(groups[truth > 0])
    folds = dict(zip(patients, random.permutation(len(patients)) % _FOLDS, strict=True))
    fold = np.asarray([folds.get(group, -1) for group in groups])
    frontal = np.unique(sources[truth == 0])
    found, found_hard = np.zeros(len(pixels), np.int64), np.zeros(len(hard), np.int64)
    for number in range(_FOLDS):
        source = frontal[number % len(frontal)]
        seen = np.where(truth == 0, sources != source, fold != number)
        seen_hard = sources[chosen] != source
        extra = [place for place in more if seen[place]]
        model = _fitted(
            np.concatenate(
                [plain[seen], harder[seen_hard], *(np.stack(more[place]) for place in extra)]
            ),
            np.concatenate(
                [
                    truth[seen],
                    np.zeros(int(seen_hard.sum()), np.int64),
                    *(np.full(len(more[place]), truth[place]) for place in extra),
                ]
            ),
        )
        found[~seen] = _sure(model.predict_proba(plain[~seen]))
        if not seen_hard.all():
            found_hard[~seen_hard] = _sure(model.predict_proba(harder[~seen_hard]))
    return found, found_hard


def _fitted(features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Any:
    # Inside: scikit-learn is a dependency of tests and benchmarks alone.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=200))
    return pipeline.fit(features, labels)


def _sure(probabilities: Floats) -> npt.NDArray[np.int64]:
    best = probabilities.argmax(axis=1)
    return np.where(probabilities.max(axis=1) >= _SURE, best, 0).astype(np.int64)
