"""Audit of out-of-distribution images: is the model confident, and do its features flag them?"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from pulmospark.audit.feature_distances import distances
from pulmospark.audit.model_outputs import Scored
from pulmospark.audit.phrasing import named
from pulmospark.audit.results import AuditResult, NamedFigure, Verdict, not_assessable
from pulmospark.audit.subject import Subject
from pulmospark.core.arrays import Floats, Pixels
from pulmospark.evaluation.intervals import newcombe_auroc
from pulmospark.evaluation.metrics import auroc
from pulmospark.evaluation.results import Figure

Runner = Callable[[Pixels], tuple[Floats, Floats]]

SURE = ("never_shown", "Overconfident on out-of-distribution images")
EACH = 16
"""images of each kind"""
_CONFIDENT = 0.9
_DETECTED = 0.9


def noise(random: np.random.Generator, size: int) -> Pixels:
    """Grey noise; (size, size)."""
    return random.integers(0, 256, (size, size)).astype(np.uint8)


def hand(random: np.random.Generator, size: int) -> Pixels:
    """A drawn hand: a palm, five fingers of three bones each; (size, size)."""
    image = np.zeros((size, size), np.float32)
    palm = (int(size * random.uniform(0.45, 0.55)), int(size * random.uniform(0.68, 0.75)))
    cv2.ellipse(image, palm, (size // 6, size // 5), 0, 0, 360, 0.55, -1)
    for finger, angle in enumerate(np.linspace(-55, 40, 5) + random.normal(0, 4, 5)):
        turn = np.deg2rad(angle - 90)
        start = np.asarray(palm) + 0.16 * size * np.asarray([np.cos(turn), np.sin(turn)])
        for bone in range(3):
            length = size * (0.14 - 0.03 * bone) * (0.8 if finger in {0, 4} else 1.0)
            end = start + length * np.asarray([np.cos(turn), np.sin(turn)])
            for wide, grey in ((0.07, 0.45), (0.03, 0.85)):
                ends = [tuple(int(v) for v in point) for point in (start, end)]
                cv2.line(image, ends[0], ends[1], grey, max(1, int(size * wide)))
            start = end + 0.01 * size
    image = cv2.GaussianBlur(image, (0, 0), size / 120) + random.normal(0, 0.02, image.shape)
    return np.asarray(image.clip(0, 1) * 255, np.uint8)


def slice_of_ct(random: np.random.Generator, size: int) -> Pixels:
    """A drawn CT slice: a body in air, two dark lungs, a spine; (size, size)."""
    image = np.zeros((size, size), np.float32)
    middle = (size // 2, size // 2)
    wide = (int(size * random.uniform(0.38, 0.45)), int(size * random.uniform(0.28, 0.34)))
    cv2.ellipse(image, middle, wide, 0, 0, 360, 0.6, -1)
    for side in (-1, 1):
        centre = (int(size * (0.5 + side * 0.19)), int(size * 0.48))
        lung = (int(size * 0.13), int(size * random.uniform(0.19, 0.23)))
        cv2.ellipse(image, centre, lung, side * 8, 0, 360, 0.08, -1)
    cv2.circle(image, (size // 2, int(size * 0.68)), size // 16, 0.95, -1)
    image = cv2.GaussianBlur(image, (0, 0), size / 150) + random.normal(0, 0.02, image.shape)
    return np.asarray(image.clip(0, 1) * 255, np.uint8)


DRAWN: dict[str, Callable[[np.random.Generator, int], Pixels]] = {
    "noise": noise,
    "hand": hand,
    "CT slice": slice_of_ct,
}


def audit(subject: Subject, scored: Scored, audited: Pixels, run: Runner) -> AuditResult:
    """Whether the model is confident on out-of-distribution images that its features do not flag.

    Args:
        subject: what is audited.
        scored: its model and the features of a sample of its images.
        images: uint8 (n, size, size), some of the subject's, to be inverted.
        run: pixels -> probabilities (n, classes) and features (n, width).
    """
    whole = scored.probabilities["whole"]
    if not np.isfinite(whole).all() or np.ptp(whole, axis=0).max() == 0:
        why = "the model's probabilities are not finite, or the same for every image"
        return not_assessable(*SURE, why)
    random = np.random.default_rng(subject.seed)
    size = scored.bundle.config.input_size
    strange = {
        name: np.stack([draw(random, size) for _ in range(EACH)]) for name, draw in DRAWN.items()
    }
    strange["image, inverted"] = (255 - audited[:EACH]).astype(np.uint8)
    groups = subject.groups[scored.rows]  # images of the same patient do not count
    usual, patients = distances(scored.features, scored.features, groups), np.unique(groups).size
    figures: list[tuple[float, NamedFigure]] = []
    confident, missed = {}, {}
    for name, images in strange.items():
        probability, features = run(images)
        if not (np.isfinite(probability).all() and np.isfinite(features).all()):
            return not_assessable(*SURE, f"the model's outputs are not finite for: {name}")
        most = float(np.median(probability.max(axis=1)))
        far = distances(features, scored.features)
        both = np.concatenate([far, usual])
        area = auroc(np.arange(both.size) < far.size, both) or 0.0
        low, high = newcombe_auroc(area, far.size, patients, subject.confidence)
        apart = Figure(value=area, low=low, high=high, method="bound")
        surest = f"{name}: median top probability"
        far_off = f"{name}: detected from feature distance, AUROC"
        figures += [
            (most, NamedFigure(name=surest, figure=Figure(value=most))),
            (most, NamedFigure(name=far_off, figure=apart, scale="number")),
        ]
        confident[name], missed[name] = most > _CONFIDENT, area < _DETECTED
    both_wrong = [name for name in confident if confident[name] and missed[name]]
    undetected = [name for name in missed if missed[name]]
    overconfident = [name for name in confident if confident[name]]
    verdict: Verdict = "fail" if both_wrong else "warn" if overconfident else "pass"
    return AuditResult(
        name=SURE[0],
        title=SURE[1],
        verdict=verdict,
        sentence=f"More than {_CONFIDENT:.0%} confident on: {named(overconfident) or 'none'}. Not "
        f"detected from feature distance: {named(undetected) or 'none'}.",
        figures=tuple(figure for _, figure in sorted(figures, key=lambda pair: -pair[0])),
        threshold=f"warns where the median top probability is above {_CONFIDENT:g}, fails "
        f"where feature distance does not detect the kind either (AUROC below {_DETECTED:g}); "
        f"{EACH} images of each kind, drawn or inverted images",
        why="a softmax is confident far from its training data; something else must detect that "
        "an image is not a frontal image",
        remedy=""
        if verdict == "pass"
        else "reject images whose feature distance exceeds that of the training images",
    )
