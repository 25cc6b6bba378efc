"""Completion in shells, by the lines that the documentation gives."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "terminal.md"
_ASK_BASH = """
COMP_WORDS=({words})
COMP_CWORD={place}
_pulmospark_completion pulmospark
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def _line(shell: str) -> str:
    match = re.search(rf"```{shell}\n(.*?)```", _PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    return match[1]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with this package's ``pulmospark`` on the path."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "pulmospark"
    program.write_text(
        f"#!{sys.executable}\nfrom pulmospark.cli.main import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def _bash(env: dict[str, str], *words: str) -> list[str]:
    bash = shutil.which("bash")
    assert bash is not None
    script = _line("bash") + _ASK_BASH.format(words=" ".join(words), place=len(words) - 1)
    done = subprocess.run(
        [bash, "--norc", "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return done.stdout.split()


def test_bash_completes_commands_options_and_layouts(env: dict[str, str]) -> None:
    assert _bash(env, "pulmospark", "rep") == ["reproduce", "report"]
    assert "--layout" in _bash(env, "pulmospark", "ingest", "--la")
    assert _bash(env, "pulmospark", "ingest", "--layout", "ker") == ["kermany"]
    assert _bash(env, "pulmospark", "layouts", "ch") == ["chexpert"]


def test_a_line_that_is_wrong_so_far_completes_to_nothing(env: dict[str, str]) -> None:
    assert _bash(env, "pulmospark", "nonsense", "--x") == []


@pytest.mark.parametrize(
    ("shell", "question"),
    [
        ("zsh", {"COMP_WORDS": "pulmospark rep", "COMP_CWORD": "1"}),
        ("fish", {"COMP_WORDS": "pulmospark rep", "COMP_CWORD": "rep"}),
    ],
)
def test_zsh_and_fish_get_a_script_whose_question_is_answered(
    env: dict[str, str], shell: str, question: dict[str, str]
) -> None:
    assert f"_PULMOSPARK_COMPLETE={shell}_source pulmospark" in _line(shell)

    def answer(action: str, **more: str) -> str:
        variables = {"_PULMOSPARK_COMPLETE": f"{shell}_{action}", **more}
        done = subprocess.run(
            ["pulmospark"], env={**env, **variables}, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert f"{shell}_complete" in answer("source")
    names = re.findall(r"rep[a-z]+", answer("complete", **question))
    assert {"report", "reproduce"} <= set(names)
