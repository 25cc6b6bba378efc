"""Generate the reference pages from the code: ``python docs/make_reference.py``.

Settings, columns and limits are documented once, next to their definition. ``--check`` writes
nothing and exits with 1 if a page is out of date.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pyarrow as pa
from reference_limits import limits_page
from reference_models import models_page
from reference_python import python_page
from reference_rest import rest_page
from reference_tables import with_audits, with_metrics
from reference_words import first_paragraph, markdown, sayings, table

from pulmospark.cli.main import COMMANDS, cli
from pulmospark.config import experiment as settings
from pulmospark.config.augment import AugmentSettings
from pulmospark.config.serve import ServeSettings
from pulmospark.config.stream import StreamSettings
from pulmospark.core import errors, result_schemas
from pulmospark.core import schemas as tables
from pulmospark.layouts import notes
from pulmospark.layouts.registry import LAYOUTS

_ONE_TABLE = (AugmentSettings,)
"""kinds whose subsections are shown in one table"""

PAGES = Path(__file__).parent / "reference"
NOTICE = "<!-- Written by docs/make_reference.py from the code: change it there. -->\n"
_WIDTH = 96


def main() -> int:
    """Write the pages, or check them; the exit code."""
    check = "--check" in sys.argv[1:]
    pages = {name: NOTICE + "\n" + page().rstrip() + "\n" for name, page in PAGE_MAKERS.items()}
    for name, filled in TABLES_OF_PAGES.items():
        pages[name] = filled((PAGES / name).read_text(encoding="utf-8"))
    stale = []
    for name, text in pages.items():
        path = PAGES / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        click.echo(f"out of date: {', '.join(stale)}; run python docs/make_reference.py")
    return int(check and bool(stale))


# ---- settings --------------------------------------------------------------------------


def settings_page() -> str:
    """Every setting of an experiment: type, default, meaning."""
    parts = [
        "# Settings\n",
        "An experiment is a TOML file. Every setting but `sources` has a default, and a key "
        "that is not listed here is an error. Relative paths start from the file's folder.\n",
        "On the command line `--set train.model=squeezenet1_1` changes one. It changes none of "
        "`sources`, `classes` and `split.images`, no list but `audit.skip`, and nothing in "
        "`[expand]` and `[train.augment]` where the experiment has no such section. Each stage "
        "keeps its settings in the run's folder, with what `--set`, `--strict`, `--all`, "
        "`--level`, `--augment` and `--no-augment` changed: a later call on the "
        "folder has them still, and a call on the TOML file reads the file anew.\n",
        *_settings_section("", settings.Experiment, {}),
        "`classes` is explained in [Several data sets and class "
        "mapping](../how-to/several-data-sets.md); the options of a source are those of its "
        "[layout](layouts.md).\n",
        "## stream\n\nThe settings of `pulmospark stream`, which are not part of an experiment: "
        "`--set batch_images=64`.\n",
        *_settings_section("", StreamSettings, {}),
        "## serve\n\nThe settings of `pulmospark serve`; most are options, too.\n",
        *_settings_section("", ServeSettings, {}),
    ]
    return "\n".join(parts)


def _settings_section(
    prefix: str, kind: type[settings.Settings], shown: dict[type, str]
) -> Iterator[str]:
    schema = kind.model_json_schema()["properties"]
    meaning: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, settings.Settings) and base is not settings.Settings:
            meaning |= sayings(base)
    title = f"`[{prefix}]`" if prefix and prefix != "sources" else "`[[sources]]`"
    if prefix:
        yield f"## {title}\n\n{first_paragraph(kind)}\n"
    if kind in _ONE_TABLE:
        yield table(("setting", "type", "default", "meaning"), list(_flat_rows(kind)))
        return
    rows, inner = [], []
    for name, field in kind.model_fields.items():
        if name not in meaning:
            raise SystemExit(f"{kind.__name__}.{name}: has no description")
        place = f"{prefix}.{name}" if prefix else name
        below = _settings_kind(field.annotation)
        if below is not None:
            first = shown.setdefault(below, place)
            if first == place:
                inner.append((place, below))
            type_text = f"[below](#{first.replace('.', '')})"
            default = "required" if field.is_required() else "-"
        else:
            type_text = _type_text(schema[name])
            default = "required" if field.is_required() else f"`{_toml(_default(field))}`"
        rows.append(
            (f"`{name}`", type_text, default.replace("`none`", "-"), _unset(meaning[name]))
        )
    yield table(("setting", "type", "default", "meaning"), rows)
    for place, below in inner:
        yield from _settings_section(place, below, shown)


def _flat_rows(kind: type[settings.Settings]) -> Iterator[tuple[str, ...]]:
    """Yield one row per nested setting of a kind: ``rotation.degrees``."""
    for name, field in kind.model_fields.items():
        below = _settings_kind(field.annotation)
        if below is None:
            raise SystemExit(f"{kind.__name__}.{name}: is not a group of settings")
        schema, meaning = below.model_json_schema()["properties"], sayings(below)
        start = first_paragraph(below)
        for inner, setting in below.model_fields.items():
            default = f"`{_toml(_default(setting))}`"
            text = f"{start} {meaning[inner].capitalize()}" if start else meaning[inner]
            yield (f"`{name}.{inner}`", _type_text(schema[inner]), default, text)
            start = ""


def _unset(meaning: str) -> str:
    return meaning.replace("`None`", "not given")


def _settings_kind(annotation: Any) -> type[settings.Settings] | None:
    for kind in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(kind, type) and issubclass(kind, settings.Settings):
            return kind
    return None


def _default(field: Any) -> Any:
    return field.get_default(call_default_factory=True)


def _type_text(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(
            _type_text(option) for option in schema["anyOf"] if option["type"] != "null"
        )
    if "enum" in schema:
        return " or ".join(f'`"{value}"`' for value in schema["enum"])
    if schema["type"] == "array":
        return "list of texts"
    if schema["type"] == "object":
        inside = schema["additionalProperties"]["type"]
        return "texts by name" if inside == "string" else "lists of texts by name"
    return _number_text(schema)


def _number_text(schema: dict[str, Any]) -> str:
    words = {"integer": "whole number", "number": "number", "boolean": "true or false"}
    plain = {"path": "path"}.get(schema.get("format", ""), words.get(schema["type"], "text"))
    bounds = {
        word: schema[key]
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    }
    limits_text = " and ".join(f"{word} {_plain(value)}" for word, value in bounds.items())
    return f"{plain}, {limits_text}" if limits_text else plain


def _plain(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Path)):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return "{}" if value == {} else f"{value:g}" if isinstance(value, float) else str(value)


# ---- command line ----------------------------------------------------------------------


def command_page() -> str:
    """The help text of every command."""
    group = click.Context(cli, info_name="pulmospark", terminal_width=_WIDTH)
    parts = [
        "# Command line\n",
        "`--debug` anywhere on the line shows tracebacks and Spark's output. Exit codes are in "
        "[Errors and exit codes](errors.md). The installed command is `pulmospark`; "
        "`python -m pulmospark` does the same.\n",
        _help("pulmospark", cli, group),
    ]
    for name in COMMANDS:
        command = cli.get_command(group, name)
        if command is None:
            raise SystemExit(f"{name}: no such command")
        below = click.Context(command, group, info_name=name, terminal_width=_WIDTH)
        parts.append(_help(f"pulmospark {name}", command, below))
    return "\n".join(parts)


def _help(title: str, command: click.Command, context: click.Context) -> str:
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"## {title}\n\n```text\n{text}\n```\n"


# ---- tables ----------------------------------------------------------------------------

_TABLES = {
    "MANIFEST": "`tables/manifest.parquet` of a run",
    "IMAGES": "`tables/images/` of a run",
    "REJECTS": "`tables/rejects/` of a run",
    "COHORT": "`cohort/table/` of a run",
    "EXPANDED": "`expanded/table/` of a run",
    "FEATURES": "`.training.work/features/` of a run, a cache",
    "SCORES": "`training/scores/` of a run",
    "LOOKS": "`.audit.work/looks/` of a run, a cache",
    "COPIES": "`.audit.work/overlays/` of a run, a cache",
    "PREDICTIONS": "`evaluation/predictions/` of a run, and `predictions/` of `predict --out` and "
    "`stream --out`",
    "METRICS": "`evaluation/metrics/` of a run or compared network, `metrics/` of an external one",
    "AUDITS": "`audit/audits/` of a run, and in the output of `pulmospark audit` on a table",
    "UNITS": "`evaluation/units/` of a run, as `scan.parquet` and `patient.parquet`, written with "
    "`evaluate.levels` or `--level`",
    "REPEATS": "`repeats/` of `stream --out`",
    "ARRIVALS": "`_stream/arrivals/` of `stream --out`",
}
_SHARED = ("_METADATA", "_RUN")
"""columns that several tables have"""
_HOMES = (tables, result_schemas)
"""modules that define them"""

_LISTS = (
    tables.RejectReason,
    tables.View,
    tables.Modality,
    tables.BodyPart,
    tables.Caution,
    tables.Split,
)


def tables_page() -> str:
    """Every table with its columns, and the closed lists of values."""
    comments: dict[str, dict[str, str]] = {}
    meanings: dict[str, str] = {}
    schemas: dict[str, Any] = {}
    for home in _HOMES:
        comments |= _column_comments(home)
        meanings |= sayings(home)
        schemas |= vars(home)
    parts = [
        "# Tables\n",
        "Every table is a folder of Parquet files (the manifest is a single file), and but for "
        "manifest, scores and caches a [Delta table](../how-to/lakehouse.md), too. Any Parquet "
        "reader can open them; the types are Arrow's. "
        "[`examples/read_tables.py`](../../examples/read_tables.py) shows how.\n",
    ]
    for name, place in _TABLES.items():
        schema: pa.Schema = schemas[name]
        rows = [
            (f"`{field.name}`", str(field.type), "yes" if field.nullable else "no", comment)
            for field, comment in zip(schema, _comments_of(name, schema, comments), strict=True)
        ]
        head = ("column", "type", "null", "meaning")
        parts.append(f"## {name.lower()}\n\n{meanings[name]} In {place}.\n\n{table(head, rows)}")
    parts.append(_csv_files())
    for kind in _LISTS:
        parts.append(f"## {_spaced(kind.__name__)}\n\n{first_paragraph(kind)}\n\n{_values(kind)}")
    return "\n".join(parts)


def _csv_files() -> str:
    rows = (
        ("`uri`, `image_id`, `prediction`", "as in the table"),
        ("`probability_CLASS`", "one column per class, in the bundle's order; six decimals"),
        (
            "`decision_CLASS`",
            "`positive` or `negative` at the operating point for that class; missing if the "
            "bundle has none",
        ),
        ("`cautions`", "why the prediction may be meaningless; empty: no reason is known"),
        ("`distance`", "from the training images; empty: not assessable"),
        ("`model_id`", "as in the table"),
    )
    return (
        "## predictions.csv and rejects.csv\n\n"
        "`predict --out` also writes two of its tables as CSV, with the images in the order in "
        "which they were listed. The Parquet parts of its tables are numbered, so that pandas "
        "and pyarrow, which read them in the order of their names, return the rows in that order, "
        f"too.\n\n{table(('column of `predictions.csv`', 'meaning'), rows)}\n"
        "`rejects.csv` has `uri`, `source`, `reason`, `detail`, `image_id` and `size_bytes`.\n\n"
        "A cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets a leading "
        "apostrophe, because a spreadsheet would run it as a formula. The Parquet tables contain "
        "the original text.\n"
    )


def _values(kind: type[StrEnum]) -> str:
    meaning = sayings(kind)
    rows = [(f"`{member.value}`", meaning.get(member.name, "")) for member in kind]
    return table(("value", "meaning"), rows)


def _spaced(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", lambda m: " " + m.group(1).lower(), name)


def _column_comments(home: ModuleType) -> dict[str, dict[str, str]]:
    """Variable of a module -> column -> the comment at the end of its line."""
    comments: dict[str, dict[str, str]] = {}
    variable = column = ""
    source = inspect.getsource(home)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.start[1] == 0:
            variable, column = token.string, ""
        elif token.type == tokenize.STRING and "pa.field(" in token.line and not column:
            column = ast.literal_eval(token.string)
        elif token.type == tokenize.COMMENT and column:
            comments.setdefault(variable, {})[column] = token.string.removeprefix("#").strip()
        elif token.type in (tokenize.NL, tokenize.NEWLINE):
            column = ""
    return comments


def _comments_of(
    name: str, schema: pa.Schema, comments: dict[str, dict[str, str]]
) -> Iterator[str]:
    for field in schema:
        known = (comments.get(home, {}) for home in (name, *_SHARED))
        text = next((texts[field.name] for texts in known if field.name in texts), None)
        if not text:
            raise SystemExit(f"{name}.{field.name}: has no description")
        yield re.sub(r"\b(View|Modality|Split|RejectReason)\b", _linked, markdown(text))


def _linked(match: re.Match[str]) -> str:
    words = _spaced(match.group(1)).lower()
    return f"[{words}](#{words.replace(' ', '-')})"


# ---- the rest --------------------------------------------------------------------------


def layouts_page() -> str:
    """The layouts: how each is recognised, its home, licence and options."""
    rows = [
        (f"[`{layout.name}`](#{layout.name})", layout.title, layout.looked_for)
        for layout in LAYOUTS
    ]
    parts = [
        "# Layouts\n",
        "A layout describes how one data set is stored: which files are images, and where to find "
        'label, patient, view, age and sex. It is detected from the folder; `layout = "..."` '
        "in a source, or `--layout`, overrides the guess. Images may be DICOM files in every "
        "layout: [Read DICOM](../how-to/dicom.md).\n",
        table(("layout", "data set", "recognised by"), rows),
    ]
    for layout in LAYOUTS:
        parts.append(
            f"## {layout.name}\n\n{layout.title}: {layout.holds}.\n\n"
            f"{first_paragraph(type(layout))}\n"
        )
        home = f"<{layout.home}>" if layout.home.startswith("http") else layout.home
        known = "".join(f"- Known fault: {fault}\n" for fault in layout.faults)
        parts.append(f"- Home: {home}\n- Licence: {layout.licence}\n{known}")
        if layout.options:
            options = [(f"`{name}`", markdown(text)) for name, text in layout.options.items()]
            parts.append(table(("option", "meaning"), options))
    parts.append("## What a listing notes\n\n" + first_paragraph(notes.NoteKind) + "\n")
    parts.append(_values(notes.NoteKind))
    return "\n".join(parts)


def errors_page() -> str:
    """The error tree and the exit codes."""
    drawing = inspect.getdoc(errors) or ""
    rows = [
        ("0", "success"),
        ("1", "a bug in pulmospark; `--debug` shows the traceback"),
        ("2", "a wrong flag, setting or call: `UsageError`"),
        ("3", "unusable input data: `InputError`"),
        ("4", "missing Java, memory, disk, weights or network: `PlatformError`"),
        ("5", "an audit failed under `--strict`: `AuditError`; the report is written anyway"),
        ("130", "interrupted; rerun to resume"),
    ]
    kinds = [
        (f"`{name}`", str(kind.exit_code), first_paragraph(kind))
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.PulmosparkError)
    ]
    return (
        "# Errors and exit codes\n\nAn error is one line on standard error that names the value, "
        "the limit and the remedy. `--debug`, anywhere on the line, adds the traceback.\n\n"
        + table(("exit code", "meaning"), rows)
        + "\n## In Python\n\n`pulmospark.core.errors` has one tree; `exit_code`, `message` and "
        "`detail` (a worker's traceback, say) are attributes of every error.\n\n"
        + f"```text\n{drawing}\n```\n\n"
        + table(("error", "exit code", "meaning"), kinds)
        + "\nAn unreadable file is not an error: it becomes a row of the "
        "[rejects](tables.md#rejects) table, and the job continues.\n"
    )


PAGE_MAKERS: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "command-line.md": command_page,
    "tables.md": tables_page,
    "limits.md": limits_page,
    "layouts.md": layouts_page,
    "models.md": models_page,
    "errors.md": errors_page,
    "python.md": python_page,
    "rest.md": rest_page,
}

TABLES_OF_PAGES: dict[str, Callable[[str], str]] = {
    "metrics.md": with_metrics,
    "../how-to/audit.md": with_audits,
}
"""pages written by hand, of which a table is generated"""

if __name__ == "__main__":
    sys.exit(main())
