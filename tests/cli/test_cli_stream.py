"""``pulmospark stream`` refuses what cannot be, in one line and before Spark is started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles import write_untrained
from pulmospark.cli.main import main
from pulmospark.core.errors import UsageError
from pulmospark.inference.stream.output import open_output
from pulmospark.inference.stream.plan import plan_stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bundle``, an empty ``inbox``, and ``taken``, which belongs to another bundle."""
    folder = tmp_path_factory.mktemp("stream")
    write_untrained(folder / "bundle")
    (folder / "inbox").mkdir()
    with open_output(folder / "taken", {"model_id": "f" * 64}, dict):
        pass
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["bundle", "none", "--out", "out"],
            3,
            "no such folder: name the one that images land in",
        ),
        (["bundle", "hdfs://bucket/images", "--out", "out"], 2, "hdfs:// is not supported"),
        (
            ["bundle", "inbox", "--out", "out", "--notifications", "https://sqs/q"],
            2,
            "only an inb",
        ),
        (["bundle", "s3://bucket/in", "--out", "s3://bucket/in/out"], 2, "use separate folders"),
        (["bundle", "inbox", "--out", "inbox/out"], 2, "use separate folders"),
        (["bundle", "inbox", "--out", "."], 2, "use separate folders"),
        (["bundle", "inbox", "--out", "bundle"], 2, "is not a stream output folder"),
        (["none", "inbox", "--out", "out"], 3, "no such folder"),
        (["bundle", "inbox", "--out", "out", "--set", "poll_s=0"], 2, "poll_s: "),
        (["bundle", "inbox", "--out", "out", "--set", "pol=1"], 2, "pol: "),
        (["bundle", "inbox", "--out", "out", "--master", "sc://host"], 2, "Spark Connect"),
    ],
)
def test_one_line_says_what_is_wrong(
    folder: Path,
    arguments: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main(["stream", *arguments])
    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (code, "")
    (line,) = errors.splitlines()
    assert message in line
    assert not (folder / "out").exists()


def test_the_output_of_another_bundle_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="belongs to the bundle ffffffffffff"):
        plan_stream(folder / "bundle", str(folder / "inbox"), folder / "taken")


def test_a_second_stream_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    plan = plan_stream(folder / "bundle", "inbox", folder / "busy")
    with open_output(plan.target, plan.identity(), plan.record):
        record = json.loads((folder / "busy" / "stream.json").read_text(encoding="utf-8"))
        assert record["stream"]["model_id"] == plan.bundle.model_id
        assert record["classes"] == ["COVID-19", "normal", "=pneumonia"]
        with pytest.raises(SystemExit) as ended:
            main(["stream", "bundle", "inbox", "--out", "busy"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "another stream is writing there (process " in line


@pytest.fixture
def unheard() -> Iterator[list[int]]:
    """Signals that nobody else took: they would have ended the process."""
    unheard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: unheard.append(number))
    yield unheard
    signal.signal(signal.SIGTERM, before)


def test_sigterm_while_spark_starts_ends_it_in_good_order(
    folder: Path,
    unheard: list[int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextlib.contextmanager
    def signalled(*arguments: object) -> Iterator[object]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield object()  # a Spark that nothing is asked of any more

    monkeypatch.setattr("pulmospark.spark.session.spark_session", signalled)
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main(["stream", "bundle", "inbox", "--out", "stopped"])
    assert (ended.value.code, unheard) == (0, [])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("0 images scored")
    assert any(line.startswith("precision: ") for line in lines)
    os.kill(os.getpid(), signal.SIGTERM)
    assert unheard == [signal.SIGTERM]  # who had the signal before has it again
