"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from pyspark.sql import SparkSession

from caches import new_cache
from pulmospark.config.evaluate import EvaluateSettings
from pulmospark.config.experiment import Experiment
from pulmospark.config.split import SplitSettings
from pulmospark.config.train import LogisticSettings, TrainSettings
from pulmospark.experiment.demo import demo_experiment
from pulmospark.experiment.pipeline import run_all
from pulmospark.experiment.run_folder import RunFolder, run_folder
from pulmospark.experiment.run_result import RunResult
from pulmospark.phantoms.write import PhantomSummary, write_phantoms
from pulmospark.spark.session import spark_session

_RUN = "run"
_LONG = (
    "store/test_run_on_strangers.py",
    "store/test_training_on_strangers.py",
    "cluster/test_cluster.py",
    _RUN,
    "ml/test_ml_classifier.py",
    "benchmarks/test_benchmarks.py",
    "docs/test_docs_notebooks.py",
    "docs/test_docs_examples.py",
    "inference/stream/test_stream_killed.py",
    "training/test_distributed.py",
)
"""groups that take longest: begun last, one process would work on while the other waits"""


# A machine may be busy: how long an example takes says nothing of the code. And the examples are
# the same each time, so that a failure is the change's.
settings.register_profile(
    "pulmospark",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("pulmospark")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist, which reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests in one process that share what takes long to make: a file, a finished run.

    What takes a session is marked as such: coverage is measured without it, see the Makefile.
    """
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)
    ranks = {name: rank for rank, name in enumerate(_LONG)}
    items.sort(key=lambda item: ranks.get(groups[item], len(ranks)))


def _group(item: pytest.Item) -> str:
    if "finished_run" in getattr(item, "fixturenames", ()):
        return _RUN
    return item.path.relative_to(Path(__file__).parent).as_posix()


@dataclass(frozen=True)
class FinishedRun:
    """An experiment that was run, its folder, and what the stages said."""

    experiment: Experiment
    folder: RunFolder
    result: RunResult


def shared_folder() -> Path:
    """The folder with real images and weights, beside the repository unless told otherwise."""
    default = Path(__file__).parents[2] / "shared"
    return Path(os.environ.get("PULMOSPARK_SHARED", default))


def _need(folder: Path) -> Path:
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder}: real data must be there in CI")
        pytest.skip(f"{folder}: no real data on this machine")
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor fill the user's cache, but for the archive of Spark's classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(new_cache(tmp_path_factory.mktemp("cache"))))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real, public images."""
    return _need(shared_folder() / "data")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Small inputs made after public bug reports."""
    return _need(shared_folder() / "cases")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Real ImageNet weights."""
    return _need(shared_folder() / "weights")


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    with spark_session(os.environ.get("PULMOSPARK_TEST_MASTER", "local[2]")) as session:
        yield session


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> PhantomSummary:
    """Images of 30 made-up patients of three hospitals on disk, some laterals, the "
    "broken files."""
    return write_phantoms(tmp_path_factory.mktemp("images") / "phantoms", seed=5, patients=30)


@pytest.fixture(scope="session")
def finished_run(
    phantoms: PhantomSummary,
    shared_weights: Path,
    spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> FinishedRun:
    """A whole run on the phantoms: SqueezeNet's features, two folds. Copy it to change it."""
    folder = tmp_path_factory.mktemp("runs")
    drawn = demo_experiment(folder, phantoms, processes=1)
    experiment = drawn.model_copy(
        update={
            "split": SplitSettings(folds=2, validation=0.2, train=0.6),
            "train": TrainSettings(
                model="squeezenet1_1",
                weights_path=shared_weights,
                logistic=LogisticSettings(max_iter=20),
            ),
            "evaluate": EvaluateSettings(replicates=100),
        }
    )
    run = run_folder(experiment)
    return FinishedRun(experiment, run, run_all(experiment, run, spark, quiet=True))
