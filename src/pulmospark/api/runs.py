"""Running experiments and opening what they left: ``run``, ``open_run`` and ``Run``.

Thin over the functions that the command line calls, so that both do the same.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pyarrow.parquet as pq

from pulmospark.audit.results import AuditReport
from pulmospark.config.experiment import Experiment
from pulmospark.core import files
from pulmospark.core.errors import InputError
from pulmospark.core.extras import check_pyspark
from pulmospark.core.locations import PathLike
from pulmospark.core.store_uri import place_of_text
from pulmospark.experiment.check import check_experiment
from pulmospark.experiment.run_folder import RunFolder, open_experiment

if TYPE_CHECKING:
    import pandas as pd

    from pulmospark.experiment.evaluate import EvaluateResult

T = TypeVar("T")


def run(
    experiment: Experiment | PathLike,
    *,
    settings: Mapping[str, object] | None = None,
    master: str | None = None,
    conf: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> Run:
    """Run an experiment: ingest, split, train, evaluate, audit, report.

    Run again, or after a kill, it resumes: images that were ingested are not read again. The
    Spark session that is active is used; where there is none one is started, and stopped at the
    end.

    Args:
        experiment: its TOML file or the folder of an earlier run, either also as an address in a
            store, or an ``Experiment``, whose relative paths start from the current folder.
        settings: changes, as ``--set`` takes them: ``{"train.model": "squeezenet1_1"}``.
        master: of the session that is started: ``local[2]``, ``spark://host:7077``.
        conf: Spark settings of that session.
        quiet: show no progress.

    Returns:
        The finished run.

    Raises:
        UsageError: a setting is wrong, or another process writes to the run's folder.
        InputError: a folder is missing or has no known layout, or a class is empty.
        PlatformError: Java, memory, disk, weights or network are missing.
        AuditError: an audit failed and ``audit.strict`` is set; ``open_run`` opens the run.

    Example:
        >>> run = ps.run("my.toml", settings={"split.folds": 5})  # doctest: +SKIP
    """
    check_pyspark()
    from pulmospark.experiment.audit import check_strict  # noqa: PLC0415
    from pulmospark.experiment.pipeline import run_all  # noqa: PLC0415
    from pulmospark.spark.session import spark_session  # noqa: PLC0415

    what = (
        experiment if isinstance(experiment, Experiment) else place_of_text(os.fspath(experiment))
    )
    texts = {key: "none" if it is None else str(it) for key, it in (settings or {}).items()}
    chosen, folder = open_experiment(what, texts)
    if chosen.train.augment is not None:
        for text in chosen.train.augment.warnings():
            warnings.warn(text, stacklevel=2)
    check_experiment(chosen)
    with files.disk_errors(folder.root):  # checked without starting Spark
        folder.root.mkdir(parents=True, exist_ok=True)
    with spark_session(master, conf) as spark:
        result = run_all(chosen, folder, spark, quiet=quiet)
    if result.audit is not None:
        check_strict(result.audit, chosen.audit)
    return Run(chosen, folder)


def open_run(folder: PathLike) -> Run:
    """Open the folder of a run, finished or not.

    Args:
        folder: of the run, or its experiment's TOML file. A run in a store is copied to this
            machine's cache.

    Raises:
        UsageError: it is neither.

    Example:
        >>> run = ps.open_run("runs/mine")
        >>> run.metrics.columns.tolist()
        ['value', 'low', 'high', 'ci_method', 'numerator', 'denominator']
        >>> sorted(run.predictions()["prediction"].unique())
        ['COVID-19', 'normal', 'pneumonia']
    """
    return Run(*open_experiment(place_of_text(os.fspath(folder)), {}))


class Run:
    """A run's folder: what its experiment came to. Made by ``run`` and ``open_run``.

    What the folder holds is read when it is asked for, so that a ``Run`` shows a run that is still
    going on as it is then.

    Attributes:
        experiment: the settings.
        folder: of the run.

    Example:
        >>> run = ps.open_run("runs/mine")
        >>> run.audits.count("fail") <= len(run.audits.audits)
        True
        >>> ps.load(run.bundle).predict("image.png").prediction in run.experiment.classes
        True
    """

    def __init__(self, experiment: Experiment, folder: RunFolder) -> None:
        self.experiment = experiment
        self.folder = folder.root
        self._folder = folder

    @property
    def bundle(self) -> Path:
        """Folder of the trained model, which ``load`` takes."""
        return self._folder.bundle

    @property
    def report(self) -> Path:
        """The report: one HTML file.

        Raises:
            InputError: it is not written yet.
        """
        if not self._folder.report.is_file():
            raise InputError(f"{self._folder.report}: no report yet: run the experiment")
        return self._folder.report

    @property
    def metrics(self) -> pd.DataFrame:
        """Metrics with their CIs on the images that were tested on, one row each.

        Index: ``accuracy``, ``balanced_accuracy``, ``macro_auroc``, ``COVID-19/sensitivity``, the
        image-blind baselines as ``trivial/most_frequent_class`` and so on. Columns: ``value``,
        ``low``, ``high`` (float64, NaN where not defined), ``ci_method``, ``numerator`` and
        ``denominator``. With folds they are of the pooled predictions.

        Raises:
            InputError: the run is not evaluated, or its model was trained again since.
        """
        from pulmospark.report.frames import metrics_frame  # noqa: PLC0415

        return metrics_frame(self._evaluated().evaluation)

    @property
    def audits(self) -> AuditReport:
        """The audits, worst first; ``to_pandas()`` makes a table of them.

        Raises:
            InputError: the run is not audited, or was split anew since.
        """
        from pulmospark.experiment.audit import old_audits, read_audit  # noqa: PLC0415

        folder = self._folder.audit
        if (why := old_audits(self._folder)) is not None:
            raise InputError(f"{folder}: {why}")
        if not folder.is_dir():
            raise InputError(f"{folder}: not audited yet: run `pulmospark audit`")
        return read_audit(folder)

    def predictions(self) -> pd.DataFrame:
        """Predictions of the images that were tested on, one row each.

        Returns:
            The columns of the table ``predictions``, with ``probability_CLASS`` (float64) for
            each class in the place of ``probability``.

        Raises:
            InputError: the run is not evaluated, or its model was trained again since.
        """
        from pulmospark.report.frames import predictions_frame  # noqa: PLC0415

        classes = self._evaluated().evaluation.classes
        return predictions_frame(pq.read_table(self._folder.evaluation / "predictions"), classes)

    def _evaluated(self) -> EvaluateResult:
        from pulmospark.experiment.evaluate import other_evaluation, read_evaluation  # noqa: PLC0415

        if (why := other_evaluation(self._folder)) is not None:
            raise InputError(why)
        folder = self._folder.evaluation
        if not folder.is_dir():
            raise InputError(f"{folder}: not evaluated yet: run the experiment")
        return read_evaluation(folder)

    def __repr__(self) -> str:
        evaluated = _or_none(self._evaluated)
        text = evaluated.evaluation.accuracy.text() if evaluated else "not evaluated yet"
        return f"<Run {self.experiment.name}: accuracy {text}, {self.folder}>"

    def _repr_html_(self) -> str:
        from pulmospark.report.notebook import run_html  # noqa: PLC0415
        from pulmospark.report.phrasing import groups_of  # noqa: PLC0415

        evaluated, tested = _or_none(self._evaluated), ""
        if evaluated is not None:
            noun = "phantom" if self.experiment.phantoms else "image"
            unknown = evaluated.images_without_patient or 0
            whose = groups_of(
                evaluated.evaluation, unknown, known=evaluated.patients, image=noun,
                patient="synthetic patient" if self.experiment.phantoms else "patient",
            )  # fmt: skip
            tested = f"{evaluated.evaluation.images:,} {noun}s of {whose}"
        return run_html(
            f"Run {self.experiment.name}",
            evaluated.evaluation if evaluated else None,
            _or_none(lambda: self.audits),
            test_set=tested,
            places={"folder": str(self.folder)},
        )


def _or_none(read: Callable[[], T]) -> T | None:
    """What is read; ``None`` where the run does not have it yet."""
    try:
        return read()
    except InputError:
        return None
