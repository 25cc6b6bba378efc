"""The commands on a terminal: what its screen shows, and what it gets where it can show less."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.pty_screen import Screens, run_on_terminal

_ESCAPE = b"\x1b"
_STAGES = """
import logging, sys, time
from pulmospark.cli.common import say, warn
from pulmospark.cli.library_output import report_decisions
from pulmospark.core.progress import Progress, stage
report_decisions()
with stage("start Spark"):
    time.sleep(1.2)
with stage("train"):
    logging.getLogger("pulmospark.x").info("a decision: %s", "[red]")
    with Progress("steps", 40, "steps") as progress:
        for done in range(0, 41, 10):
            progress.to(done, note="loss [bold]0.5[/] \\x1b[2J\\x1b]0;title\\x07")
            time.sleep(0.3)
            if done == 20:
                warn("a name: \\x1b[2J[red]x[/red]")
                print("{}", flush=True)
with stage("evaluate"):
    pass
"""


def _script(code: str, env: dict[str, str] | None = None) -> Screens:
    return run_on_terminal([sys.executable, "-c", code], env)


def _command(*arguments: str, columns: int = 80) -> Screens:
    return run_on_terminal([sys.executable, "-m", "pulmospark", *arguments], columns=columns)


@pytest.fixture(scope="module")
def stages() -> Screens:
    return _script(_STAGES)


def test_a_stage_shows_its_elapsed_time_from_the_first_second(stages: Screens) -> None:
    begun = stages.moments[0][0]
    first = [lines for seconds, lines in stages.moments if seconds < begun + 1.0]
    assert any("start Spark  1 s so far" in line for lines in first for line in lines)


def test_what_runs_inside_a_stage_is_shown_below_it(stages: Screens) -> None:
    both = [
        lines[-2:]
        for _, lines in stages.moments
        if len(lines) > 1 and lines[-2].split()[:1] == ["train"] and "of 40 steps" in lines[-1]
    ]
    assert both
    _, inner = both[-1]
    assert "of 40 steps, 1 s so far, loss" in inner


def test_lines_that_stay_are_above_the_display_and_nothing_else_does(stages: Screens) -> None:
    assert stages.code == 0
    starts = [line.partition(":")[0].strip() for line in stages.last]
    assert [start for start in starts if start != "s"] == [
        "start Spark", "a decision", "warning", "{}", "steps", "evaluate",
    ]  # fmt: skip


def test_markup_and_control_characters_are_shown_and_not_obeyed(stages: Screens) -> None:
    text = "\n".join(stages.last)
    assert r"warning: a name: \x1b[2J[red]x[/red]" in text
    assert "a decision: [red]" in text
    assert rb"\x1b]0;title\x07" in stages.raw
    assert b"\x1b]" not in stages.raw
    assert b"\x1b[2J" not in stages.raw


def test_the_cursor_is_never_hidden(stages: Screens) -> None:
    assert b"\x1b[?25l" not in stages.raw  # who is killed could not bring it back


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "1"}], ids=str)
def test_a_terminal_that_shows_less_gets_plain_lines(env: dict[str, str]) -> None:
    seen = _script(_STAGES, env)
    assert _ESCAPE not in seen.raw
    assert seen.last[0].startswith("start Spark: 1.")


def test_the_result_goes_to_a_pipe_while_progress_is_on_the_terminal(tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen = run_on_terminal(["sh", "-c", f"{sys.executable} -c '{_STAGES}' > {out}"])
    assert out.read_text() == "{}\n"
    assert any("of 40 steps" in line for _, lines in seen.moments for line in lines)


def test_a_terminal_that_is_closed_does_not_end_the_work(tmp_path: Path) -> None:
    main, side = pty.openpty()
    code = (
        "import pathlib, time\nfrom pulmospark.core.progress import stage\n"
        "with stage('x'):\n    time.sleep(1)\npathlib.Path('done').touch()"
    )
    env = {k: v for k, v in os.environ.items() if k not in {"CI", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=side, stdout=side, stderr=side, cwd=tmp_path,
        env={**env, "TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(side)
    os.read(main, 1)
    os.close(main)
    process.wait(timeout=60)
    assert (tmp_path / "done").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")  # noqa: PTH110
def test_a_full_disk_of_logs_does_not_end_the_work(tmp_path: Path) -> None:
    code = (
        "import pathlib\nfrom pulmospark.core.progress import stage\n"
        "with stage('x'): pass\npathlib.Path('done').touch()"
    )
    with open("/dev/full", "w") as full:  # noqa: PTH123
        subprocess.run([sys.executable, "-c", code], stderr=full, cwd=tmp_path, check=False)
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", ["models", "layouts", "doctor"])
def test_a_table_fits_the_terminal(name: str, columns: int) -> None:
    seen = _command(name, columns=columns)
    assert seen.code == 0
    assert _ESCAPE in seen.raw  # a style
    lines = seen.raw.decode().splitlines()
    assert len(lines) == len([line for line in lines if line])
    assert len(seen.last) == len(lines), "a line was wrapped by the terminal"


def test_a_table_in_a_pipe_has_a_line_for_each_row() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pulmospark", "layouts", "csv"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    from pulmospark.layouts.registry import find

    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 5 + len(find("csv").options)


def test_a_cell_from_outside_stays_in_its_cell() -> None:
    code = (
        "from pulmospark.cli.table_output import say_table\n"
        r"say_table(('a', 'b'), [('\x1b[2J[red]x[/]:smile:', 'y')])"
    )
    seen = _script(code)
    assert seen.last == ["a                           b", r"\x1b[2J[red]x[/]:smile:     y"] or (
        r"\x1b[2J[red]x[/]:smile:" in seen.last[1] and seen.last[1].endswith(" y")
    )
    assert b"\x1b[2J" not in seen.raw


def test_a_long_line_breaks_between_words_and_leaves_a_path_whole() -> None:
    path = "/data/" + 90 * "x"
    code = f"from pulmospark.cli.common import say\nsay('the folder that is searched is {path}')"
    seen = _script(code)
    assert path.encode() in seen.raw
    assert seen.last[0] == "the folder that is searched is"


def test_verbose_reports_settings_and_layouts(tmp_path: Path) -> None:
    for name in ("normal", "pneumonia"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "a.png").write_bytes(b"x")
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nseed = 7\n[[sources]]\npath = "images"\n'
        '[classes]\nnormal = ["normal"]\npneumonia = ["pneumonia"]\n'
    )
    command = [sys.executable, "-m", "pulmospark"]
    for arguments in (["-v", "run", "mine.toml"], ["run", "mine.toml", "--verbose"]):
        done = subprocess.run(
            [*command, *arguments, "--dry-run", "--set", "train.weights=none"],
            capture_output=True, text=True, cwd=tmp_path, check=True,
        )  # fmt: skip
        assert '"seed": 7' in done.stderr
        assert "images: layout class_folders, detected (recognised by" in done.stderr
        assert "seed" not in done.stdout
    done = subprocess.run(
        [*command, "predict", "none", "--", "-v"], capture_output=True, text=True, check=False
    )
    assert "-v" not in done.stderr  # it is a file there, and the bundle is looked at first


def test_version_and_help_take_a_tenth_of_a_second_of_cpu() -> None:
    for argument in ("--version", "-V", "--help"):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "pulmospark", argument],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        after = os.times()
        assert "pulmospark" in done.stdout
        seconds = after.children_user + after.children_system
        # 0.05 s where it was measured; the bound leaves room for a slower machine.
        assert seconds - before.children_user - before.children_system < 0.5


def test_json_has_no_styles_on_a_terminal() -> None:
    seen = _command("models", "--json", columns=200)
    assert _ESCAPE not in seen.raw
    json.loads(seen.raw)


def test_an_error_is_styled_and_whole_on_a_terminal() -> None:
    seen = _command("run", "none.toml")
    assert seen.code != 0
    assert seen.raw.startswith(b"\x1b[31mpulmospark:\x1b[0m ")
    assert seen.last[0].startswith("pulmospark: ")


def test_progress_does_not_cost_a_short_job_its_time() -> None:
    code = (
        "from pulmospark.core.progress import Progress\n"
        "with Progress('x', 10**5, 'rows') as progress:\n"
        "    for n in range(10**5):\n        progress.to(n)"
    )
    begun = time.monotonic()
    assert _script(code).code == 0
    assert time.monotonic() - begun < 10
