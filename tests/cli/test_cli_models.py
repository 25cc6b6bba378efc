"""``pulmospark models``: all that is known of the networks, without waiting for torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pulmospark.cli.main import main


def _told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["models", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code, *capsys.readouterr()


def test_the_table_has_every_network(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = _told(capsys)
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line}
    assert code == 0
    assert rows["vgg19"][1:4] == ["224", "143,667,240", "4,096"]
    assert rows["belman_lopez_2022_binary"][2] == "353,569"
    assert rows["basic_cnn"][-1] == "none"
    assert "torchvision:NAME" in output


def test_for_machines(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shared_weights: Path,
) -> None:
    monkeypatch.setenv("PULMOSPARK_WEIGHTS", str(shared_weights))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = {one["name"]: one for one in json.loads(_told(capsys, "--json")[1])["models"]}
    assert found["belman_lopez_2022_4class"]["parameters"] == 1_328_900
    assert found["inception_v3"]["flattened"]["features"] == 131_072
    assert found["inception_v3"]["input_size"] == 299
    mobile, resnet = found["mobilenet_v2"]["weights"], found["resnet50"]["weights"]
    assert mobile["found"].startswith(str(shared_weights))
    assert mobile["remedy"] is None
    assert resnet["found"] is None
    assert "resnet50-0676ba61.pth" in resnet["remedy"]
    assert "PULMOSPARK_WEIGHTS" in resnet["remedy"]


def test_one_network_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    output = _told(capsys, "vgg19_flattened", "mobilenet_v2_modified")[1]
    assert "224 x 224 only" in output
    assert "25,088 deep features" in output
    assert "not in the paper: every added convolution has 128 filters" in output
    code, _, errors = _told(capsys, "vgg99")
    assert (code, len(errors.splitlines())) == (2, 1)


def test_the_list_needs_no_torch() -> None:
    program = (
        "import sys\nfrom pulmospark.cli.main import cli\n"
        "cli.main(['models', '--json'], standalone_mode=False)\n"
        "print(sorted({'torch', 'torchvision', 'pyspark'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
