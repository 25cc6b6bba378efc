"""The ``pulmospark`` command: finds the command asked for, and turns errors into one line."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import logging
import os
import sys
from typing import Any

import click

import pulmospark
from pulmospark.cli.child_process import CommandLine
from pulmospark.cli.library_output import clean_messages, report_decisions
from pulmospark.cli.styling import styled, wrapped
from pulmospark.core.errors import AuditError, PlatformError, PulmosparkError, UsageError
from pulmospark.core.extras import no_pyspark
from pulmospark.core.safe_text import first_line, one_line, shown, shown_json
from pulmospark.core.suggestions import did_you_mean

FLAGS = frozenset({"--debug", "-v", "--verbose"})
"""options that may stand anywhere on the line"""

GROUPS = {
    "The whole pipeline": {
        "demo": "Draw phantoms and run the whole pipeline on them.",
        "run": "Run an experiment: ingest, split, train, evaluate, audit, report.",
        "compare": "Train several networks on the same images and compare them.",
        "reproduce": "Reproduce a published experiment and compare the results.",
    },
    "Its stages": {
        "ingest": "Build the images and rejects tables from folders of images.",
        "split": "Build the cohort: classes, training, validation and test sets.",
        "expand": "Build a table of augmented training images, N per class.",
        "train": "Train a detector and write its bundle.",
        "evaluate": "Evaluate a model on its test set or on external data.",
        "audit": "Audit the data, the split and the model.",
        "report": "Write the report: one HTML file.",
    },
    "Using a model": {
        "predict": "Score images with a bundle.",
        "stream": "Score images as they land in a folder.",
        "serve": "Serve a bundle: a page and a REST interface.",
        "export": "Write a bundle as ONNX or OpenVINO.",
    },
    "Data, networks and this machine": {
        "download": "Download a public data set over https.",
        "layouts": "List the supported data set layouts.",
        "models": "List the available networks.",
        "doctor": "Check this machine, and list what is missing.",
    },
}
"""Heading -> command -> its line in ``--help``; each has the module of its name. Kept here so that
the list can be shown without importing them."""

EARLIER_NAMES = {"fetch": "download"}
"""command by the name that it had -> the one that it has"""

COMMANDS = {name: line for group in GROUPS.values() for name, line in group.items()}


class _Formatter(click.HelpFormatter):
    """Help with bold headings, where the terminal shows them."""

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{styled(f'{heading}:', 'bold', sys.stdout)}\n")

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or styled("Usage: ", "bold", sys.stdout))


class _Context(click.Context):
    formatter_class = _Formatter


class _Commands(click.Group):
    """Imports a command's module only when it is needed, so that ``--help`` stays fast."""

    context_class = _Context

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pulmospark.cli.{cmd_name}")
        command: click.Command = module.command
        command.context_class = _Context
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in EARLIER_NAMES:
            new = EARLIER_NAMES[args[0]]
            from pulmospark.cli.common import warn

            warn(f"`pulmospark {args[0]}` is now `pulmospark {new}`; the old name is deprecated")
            args = [new, *args[1:]]
        is_typed = not ctx.resilient_parsing  # a shell that completes a line wants no error
        if is_typed and args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UsageError(
                f"{args[0]!r}: no such command{did_you_mean(args[0], COMMANDS)}; "
                "`pulmospark --help` lists them"
            )
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    help=f"""COVID-19 and pneumonia detectors from chest X-rays, on Apache Spark.

    {pulmospark.NOT_A_MEDICAL_DEVICE}

    \b
    Start here:
      pulmospark doctor             check this machine
      pulmospark demo               the whole pipeline on phantoms, in two minutes
      pulmospark run my.toml        the whole pipeline on your images
      pulmospark predict BUNDLE image.png
    """,
)
@click.version_option(pulmospark.__version__, "-V", "--version", prog_name="pulmospark")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Report what is done and why: layouts, settings, engine. Also after the command.",
)
@click.option(
    "--debug", is_flag=True, help="Show tracebacks and Spark's output. Also after the command."
)
def cli(verbose: bool, debug: bool) -> None:
    """The root command; sub-commands do the work."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Exit codes: 0 success, 1 bug, 2 usage error, 3 bad input data, 4 environment, 5 failed audit,
    130 interrupted.
    """
    owner = CommandLine() if arguments is None else None
    arguments = sys.argv[1:] if arguments is None else arguments
    clean_messages()
    arguments, flags = _without_flags(arguments)
    debug = "--debug" in flags
    if flags & {"-v", "--verbose"}:
        report_decisions()
    if debug:
        os.environ["PULMOSPARK_SPARK_LOG"] = "1"
    else:  # without a home folder matplotlib warns about its cache, which is no error here
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
    sys.exit(_run(arguments, debug=debug, as_json="--json" in arguments, owner=owner))


def _without_flags(arguments: list[str]) -> tuple[list[str], set[str]]:
    """Split off ``--debug`` and ``-v``, which users append to the line that failed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = {argument for argument in arguments[:end] if argument in FLAGS}
    return [a for a in arguments[:end] if a not in FLAGS] + arguments[end:], flags


def _run(
    arguments: list[str], *, debug: bool, as_json: bool = False, owner: CommandLine | None = None
) -> int:
    """Run a command and return its exit code. An error is one line, or one JSON object."""

    def say(message: str, code: int, kind: str) -> int:
        text = one_line(message)
        if not as_json:
            line = wrapped(f"pulmospark: {text}", sys.stderr)
            name = styled("pulmospark:", "red", sys.stderr)
            click.echo(name + line.removeprefix("pulmospark:"), err=True)
            return code
        error = {"error": {"kind": kind, "message": text, "exit_code": code}}
        # On standard output in place of the result, and on standard error. After a failed audit
        # the result is already on standard output and must stay the only document there.
        for is_error in (True,) if kind == AuditError.__name__ else (False, True):
            click.echo(shown_json(json.dumps(error, ensure_ascii=False)), err=is_error)
        return code

    try:
        outcome: Any = cli.main(
            arguments, prog_name="pulmospark", standalone_mode=False, obj=owner
        )
        sys.stdout.flush()  # here, where a failure can still be reported
    except BrokenPipeError:
        _close_output()
        return 0  # the reader of a pipe has seen enough
    except (click.exceptions.Abort, KeyboardInterrupt):
        return say("interrupted; rerun to resume", 130, "Interrupted")
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        return say(f"{message}; see `pulmospark --help`", 2, "UsageError")
    except Exception as error:
        if _disk_is_full(error):
            _close_output()
        if debug:
            click.echo(shown(getattr(error, "detail", None) or ""), err=True)
            raise
        return say(*_described(error))
    return outcome if isinstance(outcome, int) else 0


def _described(error: Exception) -> tuple[str, int, str]:
    """Return an error's message, its exit code and its kind."""
    if isinstance(error, PulmosparkError):
        return error.message, error.exit_code, type(error).__name__
    if _disk_is_full(error):
        return (
            "the disk is full: free some space, or write elsewhere with --out",
            PlatformError.exit_code,
            PlatformError.__name__,
        )
    if isinstance(error, ModuleNotFoundError) and error.name == "pyspark":
        return _described(no_pyspark())
    kind = type(error).__name__
    return (
        f"{kind}: {first_line(error)} (this is a bug; rerun with --debug for the traceback)",
        1,
        kind,
    )


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether the cause is a full disk; Rust and Java report it only in their messages."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(
            error
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def _close_output() -> None:
    """Discard buffered standard output: Python would try to write it again at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
