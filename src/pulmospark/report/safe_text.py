"""Text from outside, made fit to be shown."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from pulmospark.core.safe_text import shown


def clean_text(value: Any) -> Any:
    """Make text fit to be written as UTF-8 and shown, at any depth of lists and dicts.

    As :func:`pulmospark.core.safe_text.shown` does it.
    """
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(clean_text(item) for item in value)
    return value


Text = Annotated[str, BeforeValidator(clean_text)]
