"""An experiment is checked before its first stage."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pulmospark.cli.main import _run

WRONG = (
    ("train.model=mobilnet_v2", 2, "did you mean 'mobilenet_v2'"),
    ("train.modle=x", 2, "did you mean 'model'"),
    ("train.method=featurs", 2, "must be 'features' or 'network' (did you mean 'features'?)"),
    (
        "train.weights_path=/nowhere/x",
        2,
        "train.weights_path: /nowhere/x: no such weights file or folder",
    ),
    ("train.start=/nowhere/x", 3, "train.start: /nowhere/x: no such bundle"),
    ("train.expanded_path=/nowhere/x", 3, "train.expanded_path: /nowhere/x: no such folder"),
    ("train.network.epochs=0", 2, "train.network.epochs: must be 1 or more"),
    ("train.network.trainable=hed", 2, "train.network.trainable: must be"),
    ("train.network.trainable=99", 2, "mobilenet_v2 has 5 stages"),
    ("ingest.size=7", 2, "ingest.size: must be"),
    ("ingest.salt_path=/nowhere/x", 2, "the salt cannot be read"),
    ("evaluate.positive_class=covd", 2, "did you mean 'covid'"),
    ("evaluate.negative_class=norml", 2, "did you mean 'normal'"),
    ("audit.skip=near_duplicate", 2, "did you mean 'near_duplicates'"),
    ("split.views=PA,AQ", 2, "no view 'AQ'"),
    ("split.train=nan", 2, "split.train: must be a finite number"),
    ("split.train=0.9", 2, "train + validation + test is"),
    ("seed=x", 2, "seed: must be a whole number"),
    ("out=hdfs://host/runs", 2, "hdfs:// is not supported"),
    ("tracking.tensorboard=hdfs:/x", 2, "hdfs:// is not supported"),
)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    for name in ("covid", "normal"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a.png").write_bytes(b"x")
    file = tmp_path / "my.toml"
    file.write_text(
        '[[sources]]\npath = "set"\n[classes]\ncovid = ["covid"]\nnormal = ["normal"]\n'
        '[train]\nweights = "none"\n',
        encoding="utf-8",
    )
    return file


@pytest.mark.parametrize(("change", "code", "message"), WRONG)
def test_a_wrong_setting_is_one_line_before_anything_is_done(
    change: str, code: int, message: str, experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["run", str(experiment), "--set", change]
    weights = ["--set", "train.weights=imagenet"] if "weights_path" in change else []
    begun = time.process_time()  # a busy machine is not the code's fault
    assert _run([*lines, *weights], debug=False) == code
    assert time.process_time() - begun < 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not re.search("Input should|valid tuple|Field required|Extra inputs", line)
    assert not (experiment.parent / "runs").exists()


def test_weights_that_can_not_be_had_are_known_before_ingest(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULMOSPARK_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(experiment.parent / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    change = ["--set", "train.weights=imagenet"]
    assert _run(["run", str(experiment), *change], debug=False) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "mobilenet_v2: no ImageNet weights in" in line
    assert "set PULMOSPARK_WEIGHTS" in line
    assert not (experiment.parent / "runs").exists()


def test_a_missing_extra_is_known_before_ingest(
    experiment: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    change = ["--set", "train.model=timm:resnet18"]
    assert _run(["run", str(experiment), *change], debug=False) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "timm is not installed" in line
    assert "'.[timm]' in pulmospark's checkout" in line


def test_a_dry_run_says_what_would_be_done(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(["run", str(experiment), "--dry-run", "--json"], debug=False) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["stages"] == ["ingest", "split", "train", "evaluate", "audit", "report"]
    assert plan["weights"] == "random weights"
    assert plan["sources"] == [f"set: {experiment.parent / 'set'}, class_folders"]
    assert plan["folder"] == str(experiment.parent / "runs" / "experiment")
    assert not (experiment.parent / "runs").exists()


def test_a_check_loads_neither_spark_nor_torch(experiment: Path) -> None:
    program = (
        "import sys\n"
        "from pulmospark.cli.main import _run\n"
        f"assert _run(['run', {str(experiment)!r}, '--dry-run'], debug=False) == 0\n"
        "print(sorted({'pyspark', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
