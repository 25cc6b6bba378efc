"""Scripts, container files and settings in ``deploy``: linted, and run where that is possible."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_SCRIPTS = sorted([*DEPLOY.rglob("*.sh"), ROOT / ".ci" / "run", ROOT / ".ci" / "spark-matrix"])
_DOCKERFILES = sorted([*DEPLOY.rglob("Dockerfile"), *(ROOT / "containers").rglob("Dockerfile")])


@pytest.mark.parametrize("path", _SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_lints_clean_and_may_be_run(path: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    assert shellcheck, "install shellcheck (apt-get install shellcheck)"
    done = subprocess.run([shellcheck, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("path", _DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_dockerfile_lints_clean_and_copies_what_is_there(path: Path) -> None:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    lines = re.findall(r"^COPY (?!--from)(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    let_through = path.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    for source in (word for line in lines for word in line.split()[:-1]):
        assert (ROOT / source).exists()
        assert f"!{source}" in let_through


def test_the_image_the_chart_and_the_application_are_of_one_spark() -> None:
    dockerfile = (DEPLOY / "kubernetes" / "Dockerfile").read_text(encoding="utf-8")
    (spark,) = re.findall(r"^ARG SPARK=([\d.]+)-", dockerfile, re.MULTILINE)
    values = yaml.safe_load((DEPLOY / "helm" / "pulmospark" / "values.yaml").read_text())
    assert values["spark"]["version"] == spark


def _gpus(folder: Path, answer: str) -> subprocess.CompletedProcess[str]:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{answer}'\n", encoding="utf-8")
    tool.chmod(0o755)
    return subprocess.run(
        [DEPLOY / "discover-gpus.sh"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{folder}:/usr/bin:/bin"},
    )


@pytest.mark.parametrize(
    ("answer", "gpus"), [("0\\n", ["0"]), ("0\\n1\\n10\\n", ["0", "1", "10"])]
)
def test_gpus_are_said_as_spark_reads_them(answer: str, gpus: list[str], tmp_path: Path) -> None:
    done = _gpus(tmp_path, answer)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"name": "gpu", "addresses": gpus}


def test_no_gpu_is_an_error(tmp_path: Path) -> None:
    done = _gpus(tmp_path, "")
    assert done.returncode == 1
    assert "lists no GPU" in done.stderr


def test_spark_takes_the_settings(tmp_path: Path) -> None:
    """Spark's own launcher reads the file; each key is one that it or Kubernetes documents."""
    text = (DEPLOY / "spark.conf").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert all(len(line) == 2 for line in lines)
    (emr,) = json.loads((DEPLOY / "emr" / "configurations.json").read_text(encoding="utf-8"))
    settings = dict(lines)
    for key in ("spark.decommission.enabled", "spark.executor.memoryOverhead"):
        assert emr["Properties"][key] == settings[key]
    jars = Path(sysconfig.get_path("purelib")) / "pyspark" / "jars"
    (core,) = jars.glob("spark-core_*.jar")
    names = subprocess.run(
        [sys.executable, "-c", _NAMES, core], capture_output=True, check=True
    ).stdout
    for key in settings:
        assert key.encode() in names, key


_NAMES = """
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as jar:
    for name in jar.namelist():
        if name.startswith("org/apache/spark/internal/config/") and name.endswith(".class"):
            sys.stdout.buffer.write(jar.read(name))
"""
