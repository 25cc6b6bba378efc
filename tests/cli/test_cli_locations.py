"""Every path that the command line and the settings take, walked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic import ValidationError

from pulmospark.cli import common
from pulmospark.cli.main import COMMANDS, _run, cli
from pulmospark.config.base import Settings
from pulmospark.config.experiment import Experiment
from pulmospark.config.stream import StreamSettings
from pulmospark.models.bundle.config import BundleConfig

NO_PATHS = {
    "changes", "conf", "host", "hosts", "layout", "mapping", "master", "metrics_host", "model",
    "models", "name", "names", "notifications", "options", "preset", "sha256",
}  # fmt: skip
"""parameters that are plain text and name no file; a new one has to be thought about here"""


STORED = {"out", "path", "start", "weights_path", "options"}
"""settings that may be addresses in a store"""


def _parameters() -> Iterator[tuple[str, click.Command, click.Parameter]]:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            yield name, command, parameter


def _line(name: str, command: click.Command, tested: click.Parameter, text: str) -> list[str]:
    """A command line on which all that is required has a value, and ``tested`` this one."""
    line = [name]
    for parameter in command.params:
        if parameter is not tested and not parameter.required:
            continue
        kind = parameter.type
        value = str(kind.choices[0]) if isinstance(kind, click.Choice) else "1"
        value = text if parameter is tested else value
        line += [value] if isinstance(parameter, click.Argument) else [parameter.opts[0], value]
    return line


def test_every_path_of_the_command_line_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    walked = 0
    for name, command, parameter in _parameters():
        if isinstance(parameter.type, click.types.StringParamType):
            assert parameter.name in NO_PATHS, f"{name} {parameter.name}: is it a path?"
        if not isinstance(parameter.type, click.Path):
            continue
        walked += 1
        may_be_stored = parameter.type in {common.IMAGES, common.PLACE}
        remote = "hdfs://host/x" if may_be_stored else "s3://bucket/x"
        for text in (remote, "file://elsewhere/x"):
            code = _run(_line(name, command, parameter, text), debug=False)
            errors = capsys.readouterr().err.splitlines()
            assert code == 2, (name, parameter.name)
            assert len(errors) == 1
            assert text in errors[0], (name, parameter.name)
        taken: Any = parameter.type.convert("file:///a%20b", parameter, click.Context(command))
        assert Path(taken) == Path("/a b")
    assert walked >= 30


def _settings(kind: type[Settings]) -> set[type[Settings]]:
    kinds = {kind}
    for field in kind.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            inside = waiting.pop()
            if inspect.isclass(inside) and issubclass(inside, Settings):
                kinds |= _settings(inside)
            waiting += get_args(inside)
    return kinds


def _names_path(annotation: object) -> bool:
    return annotation is Path or any(map(_names_path, get_args(annotation)))


def test_every_path_of_the_settings_is_checked() -> None:
    walked = []
    for kind in {
        k for root in (Experiment, StreamSettings, BundleConfig) for k in _settings(root)
    }:
        for name, field in kind.model_fields.items():
            if not _names_path(field.annotation) and name not in {"mlflow", "options"}:
                continue
            walked.append(name)

            def read(text: str, kind: type[Settings] = kind, name: str = name) -> Any:
                values = {n: "x" for n, f in kind.model_fields.items() if f.is_required()}
                if kind is Experiment:
                    values["sources"] = [{"path": "x"}]  # type: ignore[assignment]
                given = {"root": text} if name == "options" else text
                return getattr(kind.model_validate({**values, name: given}), name)

            remote = () if name in STORED else ("s3://bucket/x",)
            for text in (*remote, "hdfs:/x", "file://elsewhere/x"):
                with pytest.raises(ValidationError, match=text):
                    read(text)
            if name in STORED:
                assert "s3://bucket/x" in str(read("s3://bucket/x"))
            assert str(read("file:///a%20b")).strip("{}").endswith(("/a b", "'/a b'"))
            assert str(read("a%20b")).strip("{}").endswith(("a%20b", "'a%20b'"))
    assert sorted(walked) == [
        "expanded_path", "mlflow", "options", "out", "path", "salt_path", "start",
        "tensorboard", "weights_path",
    ]  # fmt: skip
