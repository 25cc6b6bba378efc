"""The real experiment, files to report, and scikit-learn on the same features and folds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import (
    Options,
    Report,
    data_folder,
    finish,
    goal,
    python,
    say,
    scratch,
)
from pulmospark.config.experiment import Experiment
from pulmospark.config.source import SourceSettings
from pulmospark.config.split import SplitSettings
from pulmospark.config.train import TrainSettings
from pulmospark.data.cohort.table import read_cohort
from pulmospark.experiment.evaluate import read_evaluation
from pulmospark.experiment.run_folder import RunFolder, read_seconds, save_settings
from pulmospark.training.train import read_training

GOAL_SECONDS = 40.0
GOAL_POINTS = 0.5
FOLDS = 5

SOURCES = {
    "covid-chestxray-dataset": "covid_chestxray",
    "nih-chest-xray14": "nih14",
    "chest_xray": "kermany",
}
"""folder -> layout"""

CLASSES = {
    "COVID-19": ("COVID-19", "COVID-19, ARDS"),
    "pneumonia": (
        "PNEUMONIA bacterial",
        "PNEUMONIA viral",
        "Pneumonia",
        "Bacterial",
        "Klebsiella",
        "Lipoid",
        "Mycoplasma Bacterial Pneumonia",
        "Pneumocystis",
        "SARS",
        "Streptococcus",
        "Varicella",
    ),
    "normal": ("No Finding", "NORMAL"),
}
"""Every pneumonia of ieee8023's sheet by what causes it. Left out, and counted in the report:
its ARDS without a cause, and NIH's infiltrations and consolidations, which name no disease."""

Features = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """pulmospark's and scikit-learn's answers on the same images."""

    images: int
    accuracy: float
    reference: float
    """accuracy of scikit-learn's"""
    agreement: float
    """share of images of which both say the same"""

    @property
    def points(self) -> float:
        """Difference of the accuracies in percentage points."""
        return 100 * (self.accuracy - self.reference)


def settings(data: Path, out: Path) -> Experiment:
    """The real experiment: MobileNetV2 features, 5 folds of patients.

    Args:
        data: folder of the public data sets.
        out: folder under which the run's folder is made.
    """
    return Experiment(
        name="real",
        out=out,
        sources=tuple(
            SourceSettings(path=data / folder, layout=layout) for folder, layout in SOURCES.items()
        ),
        classes=CLASSES,
        split=SplitSettings(folds=FOLDS),
        train=TrainSettings(model="mobilenet_v2", method="features"),
    )


def measure(options: Options) -> Report:
    """Wall seconds of `pulmospark run`, fresh each time, and the comparison of the last."""
    data = data_folder(options)
    if data is None:
        raise FileNotFoundError("the real experiment needs --data, a folder of public data sets")
    walls: list[float] = []
    with scratch(options) as folder:
        for turn in range(options.repeats or 3):
            run = RunFolder(folder / f"real-{turn}")
            run.root.mkdir()
            save_settings(settings(data, folder), run)
            seconds, _ = finish(python("-m", "pulmospark", "run", str(run.root), "--quiet"))
            if not run.report.is_file():
                raise RuntimeError(f"{run.report}: no report")
            walls.append(seconds)
            say(f"  run {turn + 1}: {seconds:.1f} s, of which {read_seconds(run)}")
        stages = read_seconds(run)
        compared = compare(run)
        report = run.report.stat().st_size
    return _report(walls, stages, compared, report)


def compare(run: RunFolder) -> Comparison:
    """Fit scikit-learn's logistic regression on a run's features, fold by fold.

    Each fold's model is trained on all other folds, as pulmospark's outer models are, with the
    regularisation that was chosen for it.

    Args:
        run: a run with folds, trained on features and evaluated.
    """
    strengths = {one.fold: one.reg_param for one in read_training(run.training).models}
    told = read_evaluation(run.evaluation)
    classes = told.evaluation.classes
    images = read_cohort(run.cohort)
    features = _features(run, images["uri"].to_pylist())
    labels = np.asarray([classes.index(name) for name in images["label"].to_pylist()])
    folds = np.asarray(images["fold"].to_numpy(zero_copy_only=False))
    reference = np.full(len(labels), -1)
    for fold in np.unique(folds):
        held = folds == fold
        strength = strengths[int(fold)] or 0.0
        weights, bias = fit_reference(features[~held], labels[~held], strength)
        reference[held] = np.argmax(features[held] @ weights.T + bias, axis=1)
    said = pq.read_table(run.evaluation / "predictions", columns=["uri", "prediction"])
    ours = dict(zip(said["uri"].to_pylist(), said["prediction"].to_pylist(), strict=True))
    own = np.asarray([classes.index(ours[uri]) for uri in images["uri"].to_pylist()])
    return Comparison(
        images=len(labels),
        accuracy=float(np.mean(own == labels)),
        reference=float(np.mean(reference == labels)),
        agreement=float(np.mean(own == reference)),
    )


def fit_reference(
    features: Features, labels: Labels, reg_param: float
) -> tuple[Features, Features]:
    """scikit-learn's fit of what MLlib fits: weights (classes, width) and bias (classes,).

    MLlib minimises the mean log loss + regParam / 2 x the squared norm of the coefficients of
    features divided by their standard deviation (n - 1), the intercepts left free;
    scikit-learn C x the summed log loss + 1/2 x the norm: so C = 1 / (n x regParam).
    """
    from sklearn.linear_model import LogisticRegression

    if not reg_param:
        raise ValueError("the comparison is for L2 regularisation")
    deviation = features.std(axis=0, ddof=1)
    deviation[deviation == 0] = 1.0  # MLlib gives a constant feature the weight 0
    model = LogisticRegression(
        C=1 / (len(labels) * reg_param), solver="lbfgs", max_iter=10_000, tol=1e-6
    )
    model.fit(features / deviation, labels)
    return model.coef_ / deviation, model.intercept_


def _features(run: RunFolder, uris: list[str]) -> Features:
    # Where training keeps the features it took, so that another training may go on from them.
    kept = run.training.with_name(f".{run.training.name}.work") / "features"
    parts = sorted(kept.glob("features-*.parquet"))
    if not parts:
        raise FileNotFoundError(f"{kept}: training left no features there")
    rows = pa.concat_tables([pq.read_table(part, columns=["uri", "features"]) for part in parts])
    place = {uri: index for index, uri in enumerate(rows["uri"].to_pylist())}
    flat = rows["features"].combine_chunks().flatten().to_numpy()
    values = flat.reshape(rows.num_rows, -1)[[place[uri] for uri in uris]]
    return np.asarray(values, dtype=np.float64)


def _report(
    walls: list[float], stages: dict[str, float], compared: Comparison, size: int
) -> Report:
    wall = statistics.median(walls)
    figures: dict[str, Any] = {
        "wall_seconds": walls,
        "stage_seconds_of_last": stages,
        "images": compared.images,
        "accuracy": compared.accuracy,
        "accuracy_scikit_learn": compared.reference,
        "difference_points": compared.points,
        "agreement": compared.agreement,
        "report_bytes": size,
        "goal_seconds": GOAL_SECONDS,
        "goal_points": GOAL_POINTS,
    }
    return Report(
        name="experiment",
        title=f"The real experiment, {compared.images} images, {FOLDS} folds, files to report",
        head=("what", "value"),
        rows=[
            ("wall time, start of Python and Spark within, s (median)", f"{wall:.1f}"),
            ("range, s", f"{min(walls):.1f} to {max(walls):.1f}"),
            *((f"  {name}, s", f"{taken:.1f}") for name, taken in stages.items()),
            ("accuracy, all folds", f"{compared.accuracy:.4f}"),
            ("accuracy of scikit-learn, same features and folds", f"{compared.reference:.4f}"),
            ("difference, points", f"{compared.points:+.2f}"),
            ("images of which both say the same", f"{compared.agreement:.4f}"),
        ],
        notes=[
            goal(f"wall time <= {GOAL_SECONDS:.0f} s", wall <= GOAL_SECONDS),
            goal(
                f"accuracy within {GOAL_POINTS} points of scikit-learn's",
                abs(compared.points) <= GOAL_POINTS,
            ),
        ],
        figures=figures,
    )
