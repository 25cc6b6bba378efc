"""``pulmospark export``: plain words and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundles import write_untrained
from pulmospark.cli.main import main


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("export") / "bundle")


def _told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code, *capsys.readouterr()


def test_in_words_it_says_that_phantoms_were_drawn(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ir"
    code, output, errors = _told(capsys, str(bundle), "--to", "openvino", "--out", str(out))
    assert (code, errors) == (0, "")
    assert "checked with OpenVINO on 12 phantoms: probabilities differ" in output
    assert "phantoms are synthetic: use --images" in output
    assert "not a medical device" in output
    assert (out / "model.xml").is_file()


def test_for_machines(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ir"
    output = _told(capsys, str(bundle), "--to", "openvino", "--out", str(out), "--json")[1]
    result = json.loads(output)
    assert (result["to"], result["phantoms"], result["path"]) == ("openvino", True, str(out))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--to", "openvino", "--out", "OUT", "--images", "none"], 3, "no such file or folder"),
        (["--to", "onnx", "--out", "OUT"], 2, "ends in .onnx"),
        (["--to", "tflite", "--out", "OUT"], 2, "--to"),
        (["--to", "onnx"], 2, "--out"),
    ],
)
def test_a_fault_is_one_line(
    arguments: list[str],
    code: int,
    words: str,
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(tmp_path / "out") if one == "OUT" else one for one in arguments]
    found, _, errors = _told(capsys, str(bundle), *given)
    assert (found, len(errors.splitlines())) == (code, 1), errors
    assert words in errors
    assert not (tmp_path / "out").exists()
