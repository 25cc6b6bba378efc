"""Pydantic's validation errors in the user's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pulmospark.core.suggestions import did_you_mean

_GIVEN_CHARS = 80
_WORDS: Mapping[str, str] = {
    "missing": "is missing: set it",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a table of names and values",
    "model_type": "must be a section of settings",
    "model_attributes_type": "must be a section of settings",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "path_type": "must be a path",
    "none_required": "must be unset",
    "greater_than": "must be over {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be under {lt}",
    "less_than_equal": "must be {le} or less",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have {min_length} or more entries, and has {actual_length}",
    "too_long": "must have at most {max_length} entries, and has {actual_length}",
    "literal_error": "must be {expected}",
    "extra_forbidden": "no such setting",
}
"""pydantic's error type -> what the setting must be, with placeholders for its context"""


def validation_line(error: ValidationError, kind: type[BaseModel] | None = None) -> str:
    """The first error as one line: the setting's path, what it must be, what was given.

    Args:
        error: as pydantic raised it.
        kind: the model, whose field names are suggested for a mistyped one.
    """
    errors = error.errors()
    first = errors[0]
    place = _place(first)
    words = dict.fromkeys(_words(e) for e in errors if _place(e) == place)
    is_new = first["type"] in {"missing", "extra_forbidden"}
    text = ", or ".join(words)
    given = "" if is_new or str(first["input"]) in text else _given(first)
    if not place:  # settings that do not go together: their names are in the text
        return text
    return f"{'.'.join(map(str, place))}: {text}{_suggestion(first, place, kind)}{given}"


def _place(error: ErrorDetails) -> list[int | str]:
    """The setting's path, without the branches of a union, which pydantic includes."""
    return [part for part in error["loc"] if not _names_branch(part)]


def _names_branch(part: int | str) -> bool:
    """Whether a part of a place names a type of a union (``literal['all','head']``)."""
    is_plain = part in {"int", "float", "str", "bool"}
    return isinstance(part, str) and (is_plain or "[" in part or part.startswith("constrained-"))


def _words(error: ErrorDetails) -> str:
    context: dict[str, Any] = error.get("ctx", {})
    if error["type"] in _WORDS:
        return _WORDS[error["type"]].format_map(context)
    return error["msg"].removeprefix("Value error, ")


def _given(error: ErrorDetails) -> str:
    text = str(error["input"])
    return f" (given: {text[:_GIVEN_CHARS]!r}{'...' * (len(text) > _GIVEN_CHARS)})"


def _suggestion(error: ErrorDetails, place: list[int | str], kind: type[BaseModel] | None) -> str:
    if error["type"] == "literal_error":
        expected = str(error.get("ctx", {}).get("expected", ""))
        words = [word.strip("' ") for word in expected.replace(" or ", ", ").split(", ")]
        return did_you_mean(str(error["input"]), words)
    if error["type"] == "extra_forbidden" and kind is not None:
        section = _section(kind, place[:-1])
        return did_you_mean(str(place[-1]), section.model_fields) if section else ""
    return ""


def _section(kind: type[BaseModel], place: list[int | str]) -> type[BaseModel] | None:
    """The model of a section, by its path within another."""
    for part in place:
        if isinstance(part, int):
            continue
        field = kind.model_fields.get(part)
        inside = _model_in(field.annotation) if field is not None else None
        if inside is None:
            return None
        kind = inside
    return kind


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a type is or contains: ``AugmentSettings | None``, a tuple of sections."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for part in get_args(annotation) if (m := _model_in(part)) is not None), None)
