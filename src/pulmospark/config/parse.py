"""From plain values to settings, with a one-line error."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from pulmospark.config.base import Settings
from pulmospark.config.validation import validation_line
from pulmospark.core.errors import UsageError

T = TypeVar("T", bound=Settings)


def parse(kind: type[T], values: dict[str, Any], *, where: str) -> T:
    """Build settings from plain values, with a one-line error.

    Args:
        kind: the settings' class.
        values: plain values, as TOML or JSON gives them.
        where: the source of the values, for the message.

    Raises:
        UsageError: a key is unknown or a value is out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{where}: {validation_line(error, kind)}") from error
