"""The page on what ``import pulmospark as ps`` gives, from its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel
from reference_words import first_paragraph, markdown, sayings, table

import pulmospark
from pulmospark.config.base import Settings
from pulmospark.core.errors import PulmosparkError

_FUNCTIONS = ("run", "open_run", "load", "read_table")
_CLASSES = ("Run", "Model", "Prediction", "HeatMap", "AuditReport", "Experiment", "SourceSettings")
_CONSTANTS = ("NOT_A_MEDICAL_DEVICE", "__version__")
_SETTINGS_PAGES = {"Experiment": "settings.md#settings", "SourceSettings": "settings.md#sources"}
_SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Example):\n", re.MULTILINE)
_ITEM = re.compile(r"^(\w+): ", re.MULTILINE)
_WIDTH = 96


def python_page() -> str:
    """Every public name: signature, meaning, arguments, errors and an example."""
    errors = [name for name in pulmospark.__all__ if _is_error(getattr(pulmospark, name))]
    known = {*_FUNCTIONS, *_CLASSES, *_CONSTANTS, *errors}
    if missing := set(pulmospark.__all__) ^ known:
        raise SystemExit(f"python.md: {', '.join(sorted(missing))}: give them a place on the page")
    rows = [
        (f"[`{name}`](#{anchor}{name.lower()})", first_paragraph(getattr(pulmospark, name)))
        for names, anchor in ((_FUNCTIONS, ""), (_CLASSES, "class-"))
        for name in names
    ]
    parts = [
        "# Python\n",
        "```python\nimport pulmospark as ps\n```\n",
        "Nothing else is imported until a name is used. How it goes together is in [Use it from "
        "Python](../how-to/use-from-python.md); the classes for Spark ML pipelines are in "
        "`pulmospark.ml`, see [Spark ML](../how-to/spark-ml.md). `PathLike` is a text or a "
        "`pathlib.Path`, `pd.DataFrame` is pandas', and `DataFrame` is Spark's.\n",
        table(("name", "meaning"), rows),
        *(_function(name, getattr(pulmospark, name)) for name in _FUNCTIONS),
        *(_class(name, getattr(pulmospark, name)) for name in _CLASSES),
        "## Errors\n\nAll are one line, and all are `ps.PulmosparkError`: "
        + ", ".join(f"`{name}`" for name in errors if name != "PulmosparkError")
        + ". See [Errors and exit codes](errors.md#in-python).\n",
        "## Constants\n\n`ps.__version__`, and `ps.NOT_A_MEDICAL_DEVICE`: "
        f"“{pulmospark.NOT_A_MEDICAL_DEVICE}”\n",
    ]
    return "\n".join(parts)


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, PulmosparkError)


def _function(name: str, value: Callable[..., Any]) -> str:
    return f"## {name}\n\n{_code(f'ps.{name}', value)}{_doc(value)}"


def _class(name: str, value: type) -> str:
    # `run` and `Run` would have one anchor.
    parts = [f"## class {name}\n\n{_doc(value)}"]
    if issubclass(value, Settings):
        parts[0] += f"\nIts settings are in [Settings]({_SETTINGS_PAGES[name]}).\n"
        return parts[0]
    if issubclass(value, BaseModel):
        meaning = sayings(value)
        rows = [
            (f"`{field}`", meaning.get(field, ""), f"`{_annotation(value, field)}`")
            for field in value.model_fields
        ]
        parts.append(table(("attribute", "meaning", "type"), rows))
    parts += (_member(name, key, member) for key, member in _members(value))
    return "\n".join(parts)


def _annotation(value: type, field: str) -> str:
    return (
        str(inspect.get_annotations(value)[field]).removeprefix("Annotated[").split(", Before")[0]
    )


def _members(value: type) -> Iterator[tuple[str, Any]]:
    for key, member in vars(value).items():
        is_shown = isinstance(member, property) or inspect.isfunction(member)
        if is_shown and not key.startswith("_"):
            yield key, member


def _member(owner: str, key: str, member: Any) -> str:
    title = f"### {owner}.{key}\n\n"
    if isinstance(member, property):
        returned = inspect.signature(member.fget).return_annotation
        return f"{title}```python\n{owner}.{key}: {returned}\n```\n\n{_doc(member)}"
    return f"{title}{_code(f'{owner}.{key}', member)}{_doc(member)}"


def _code(name: str, value: Callable[..., Any]) -> str:
    """The signature, on one line where it fits."""
    signature = inspect.signature(value)
    given = [p for p in signature.parameters.values() if p.name != "self"]
    texts: list[str] = []
    for parameter in given:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in texts:
            texts.append("*")
        texts.append(_parameter(parameter))
    line = f"{name}({', '.join(texts)}) -> {signature.return_annotation}"
    if len(line) > _WIDTH:
        inside = "".join(f"    {text},\n" for text in texts)
        line = f"{name}(\n{inside}) -> {signature.return_annotation}"
    return f"```python\n{line}\n```\n\n"


def _parameter(parameter: inspect.Parameter) -> str:
    text = f"{parameter.name}: {parameter.annotation}"
    if parameter.default is parameter.empty:
        return text
    default = parameter.default
    return f"{text} = {default.value if isinstance(default, Enum) else default!r}"


def _doc(value: object) -> str:
    """A docstring in Google's form as Markdown."""
    start, *sections = _SECTION.split(inspect.getdoc(value) or "")
    parts = [_paragraphs(start)]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        text = inspect.cleandoc("\n" + body)
        if title == "Example":
            text = re.sub(r" *# doctest: .*", "", text)
            parts.append(f"```pycon\n{text}\n```")
        elif title == "Returns":
            parts.append(f"**Returns.** {_paragraphs(text)}")
        else:
            pieces = _ITEM.split(text)[1:]
            names = {"Args": "Arguments"}.get(title, title)
            items = zip(pieces[::2], pieces[1::2], strict=True)
            lines = [f"- `{name}`: {markdown(meaning)}" for name, meaning in items]
            parts.append(f"**{names}**\n\n" + "\n".join(lines))
    return "\n\n".join(part for part in parts if part) + "\n"


def _paragraphs(text: str) -> str:
    return "\n\n".join(markdown(part) for part in text.strip().split("\n\n"))
