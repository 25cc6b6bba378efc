"""The sensitivity that an operating point reaches on new patients, against what it states.

Problems with 10 to 200 positives, of patients with one to four images, are drawn; regularisation,
temperature and threshold are chosen on out-of-fold scores as a training on features chooses them;
the model, fitted on all images, is then tested on thousands of patients that nobody has seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.common import Options, Report, goal
from pulmospark.config.train import LogisticSettings
from pulmospark.core.arrays import Ints, Singles
from pulmospark.evaluation.calibration import (
    apply_temperature,
    choose_operating_point,
    fit_temperature,
)
from pulmospark.training.cross_fit import INNER_FOLDS, CrossFit, inner_folds
from pulmospark.training.softmax_regression import Standardised, fit_softmax

PROBLEMS = 50
TARGET, CONFIDENCE = 0.95, 0.95
POSITIVES = (10, 200)
_TESTED = 4000
"""positives of a test: their own sampling error is then 0.3 points"""
_WIDTH = 24
_NEGATIVES = 4
"""negatives for each positive"""


@dataclass(frozen=True)
class Outcome:
    """What one problem's operating point stated, and what it reached."""

    positives: int
    reached: float
    low: float
    high: float
    is_coarse: bool
    reg_param: float

    @property
    def holds(self) -> bool:
        """Whether the sensitivity reached lies in the stated interval."""
        return self.low <= self.reached <= self.high


def solved(number: int, *, tested: int = _TESTED) -> Outcome:
    """Draw a problem, choose on it, and test what was chosen.

    Args:
        number: of the problem, its seed; positives grow with it, from 10 to 200.
        tested: positives of the test.
    """
    rng = np.random.default_rng(number)
    share = (number % PROBLEMS) / (PROBLEMS - 1)
    positives = round(POSITIVES[0] * (POSITIVES[1] / POSITIVES[0]) ** share)
    centres = rng.normal(size=(2, _WIDTH)) * rng.uniform(0.25, 0.6)
    features, labels, patients = _drawn(rng, centres, positives)
    inner = inner_folds(patients, labels, ["drawn"] * len(labels), seed=number)
    fitter = CrossFit(features, labels, 2)
    tuned = fitter.tuned([inner == fold for fold in range(INNER_FOLDS)])
    temperature = fit_temperature(tuned.logits, labels)
    point = choose_operating_point(
        apply_temperature(tuned.logits, temperature)[:, 0],
        labels == 0,
        TARGET,
        "positive",
        groups=np.unique(patients, return_inverse=True)[1].astype(np.int64),
        confidence=CONFIDENCE,
    )
    given = Standardised.of(features)
    fit = fit_softmax(given, labels, 2, tuned.reg_param, max_iter=LogisticSettings().max_iter)
    fresh, truth, _ = _drawn(rng, centres, tested)
    scores = apply_temperature(fit.logits(fresh), temperature)[:, 0]
    return Outcome(
        positives=positives,
        reached=float(np.mean(scores[truth == 0] >= point.threshold)),
        low=point.expected_low or 0.0,
        high=1.0 if point.expected_high is None else point.expected_high,
        is_coarse=point.is_coarse,
        reg_param=tuned.reg_param,
    )


def _drawn(
    rng: np.random.Generator, centres: npt.NDArray[np.float64], positives: int
) -> tuple[Singles, Ints, list[str]]:
    """Features (n, width), labels (0: positive) and patients, whose images are alike."""
    features, labels, patients = [], [], []
    for label, images in ((0, positives), (1, positives * _NEGATIVES)):
        sizes: list[int] = []
        while (left := images - sum(sizes)) > 0:
            sizes.append(min(int(rng.integers(1, 5)), left))
        of_patient = np.repeat(np.arange(len(sizes)), sizes)
        own = rng.normal(size=(len(sizes), _WIDTH))[of_patient]
        features.append(centres[label] + own + 0.5 * rng.normal(size=(images, _WIDTH)))
        labels += [label] * images
        patients += [f"{label}:{patient}" for patient in of_patient]
    return (
        np.concatenate(features).astype(np.float32),
        np.asarray(labels, np.int64),
        patients,
    )


def measure(options: Options) -> Report:
    """All problems, or a few of them, and how many hold."""
    started = time.perf_counter()
    numbers = range(0, PROBLEMS, 10) if options.small else range(PROBLEMS)
    found = [solved(number) for number in numbers]
    sure = [one for one in found if not one.is_coarse]
    outside = [one for one in sure if not one.holds]
    # As many as chance leaves outside intervals of this confidence, 19 times in 20 or more.
    allowed = int(stats.binom.ppf(0.95, len(sure), 1 - CONFIDENCE))
    rows = [
        (
            f"{low} to {high - 1}",
            f"{len(some)}",
            f"{sum(one.is_coarse for one in some)}",
            f"{sum(one.holds for one in some)}",
            f"{np.mean([one.reached for one in some]):.3f}",
            f"{min(one.reached for one in some):.3f}",
        )
        for low, high in ((10, 20), (20, 50), (50, 100), (100, 201))
        if (some := [one for one in found if low <= one.positives < high])
    ]
    return Report(
        name="operating_point",
        title=f"Sensitivity reached by operating points chosen for {TARGET:.0%}",
        head=("positives", "problems", "warned of", "within the CI", "reached, mean", "least"),
        rows=rows,
        notes=[
            *(
                f"outside, not warned of: {one.positives} positives, {one.reached:.3f}, stated "
                f"{one.low:.3f} to {one.high:.3f}"
                for one in outside
            ),
            goal(
                f"within the stated {CONFIDENCE:.0%} CI, or a warning: at most {allowed} of "
                f"{len(sure)} outside, as chance leaves there",
                len(outside) <= allowed,
            ),
        ],
        figures={
            "problems": [vars(one) | {"holds": one.holds} for one in found],
            "outside": len(outside),
            "unwarned": len(sure),
            "seconds": time.perf_counter() - started,
        },
    )
