"""``pulmospark predict`` of one image: plain words, exit codes, and no Spark behind it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles import write_untrained
from pulmospark.cli import predict as command
from pulmospark.cli.main import main
from pulmospark.inference.batch.predict import predict


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bundle``, ``a.png`` and ``text.png``."""
    folder = tmp_path_factory.mktemp("predict")
    image = np.random.default_rng(1).integers(0, 256, (70, 70), dtype=np.uint8)
    assert cv2.imwrite(str(folder / "a.png"), image)
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    write_untrained(folder / "bundle")
    return folder


@pytest.fixture
def told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process, which has PyTorch: exit code, output, errors."""
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["predict", *arguments])
        assert isinstance(ended.value.code, int)
        output, errors = capsys.readouterr()
        return ended.value.code, output, errors

    return run


Told = Callable[..., tuple[int, str, str]]


def test_one_image_in_plain_words(folder: Path, told: Told) -> None:
    code, output, errors = told("bundle", "a.png", "--threshold", "0.0001")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == str(folder / "a.png")
    assert lines[1].startswith("  most probable: ")
    assert lines[2].startswith("  the others: ")
    assert lines[3].startswith("  operating point for COVID-19: positive (")
    assert "not a medical device" in lines[-1]


def test_one_image_for_machines(told: Told) -> None:
    result = json.loads(told("bundle", "a.*", "--json")[1])
    assert (result["images"], result["rejects"], result["folder"]) == (1, 0, None)
    assert set(result["image"]["probabilities"]) == {"COVID-19", "normal", "=pneumonia"}


def test_what_the_listing_passed_over_is_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(folder / "a.png", images)
    (images / "linked.png").symlink_to(folder / "bundle")
    result = predict(folder / "bundle", [str(images)], tmp_path / "out", None, quiet=True)
    command._say(result)
    assert "found in the listing: 1 symlink left out\n" in capsys.readouterr().out


def test_one_image_starts_no_spark(folder: Path) -> None:
    code = (
        "import sys\nfrom pulmospark.cli.main import cli\n"
        "cli.main(['predict', 'bundle', 'a.png'], standalone_mode=False)\n"
        "print('modules', *sorted(name for name in sys.modules if name.startswith('pyspark')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.stdout.splitlines()[-1] == "modules", done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bundle", "text.png"], 3, "text.png: not_an_image: "),
        (["bundle", "text.png", "--out", "rejected"], 3, "rejects.csv"),
        (["bundle", "none.png"], 3, "no such file or folder"),
        (["bundle", "*.tif"], 3, "*.tif: matches no file or folder"),
        (["none", "a.png"], 3, "no such folder; specify a bundle folder"),
        (["bundle"], 2, "PATH..."),
        (["bundle", "a.png", "text.png"], 2, "--out is missing"),
        (["bundle", "a.png", "--out", "bundle"], 2, "choose another --out"),
        (["bundle", "a.png", "--threshold", "2"], 2, "--threshold"),
        (["bundle", "a.png", "--layout", "kermany"], 2, "--layout applies to folders"),
    ],
)
def test_a_fault_is_one_line(arguments: list[str], code: int, words: str, told: Told) -> None:
    found, _, errors = told(*arguments)
    assert found == code, errors
    assert len(errors.splitlines()) == 1, errors
    assert words in errors


def test_a_dry_run_says_what_would_be_scored_and_scores_nothing(folder: Path, told: Told) -> None:
    (folder / "archive").mkdir()
    for name in ("one.png", "two.png", "notes.docx"):
        shutil.copy(folder / "a.png", folder / "archive" / name)
    before = sorted(path.name for path in folder.iterdir())
    code, output, errors = told("bundle", "archive", "--dry-run", "-q")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "to score: 2 files, in 1 chunk or more"
    assert "ignored: 1 .docx" in lines
    assert "network: basic_cnn, 64 x 64 pixels, classes COVID-19, normal, =pneumonia" in lines
    assert "precision: fp32" in lines  # too few to check a lower one on
    assert sorted(path.name for path in folder.iterdir()) == before
    found = json.loads(told("bundle", "archive", "--out", "out", "--dry-run", "--json")[1])
    assert (found["files"], found["chunks"], found["already"]) == (2, 1, 0)
    assert (found["folder"], found["replaces"]) == (str(folder / "out"), False)
    assert sorted(path.name for path in folder.iterdir()) == before
