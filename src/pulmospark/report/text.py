"""Text from outside, made fit to be shown."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

# Control characters but for tab and line feed, direction overrides and isolates (a name could
# pass for another with them), and halves of surrogate pairs.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean_text(value: Any) -> Any:
    """Make text fit to be written as UTF-8 and shown, at any depth of lists and dicts.

    Names from outside may hold undecodable bytes (lone surrogates), control characters or
    characters that turn the direction of the text around them: all are shown as their
    escapes (``\\udcff``, ``\\x1b``), so that nothing is hidden.
    """
    if isinstance(value, str):
        return _UNSHOWABLE.sub(lambda found: ascii(found.group())[1:-1], value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_text(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(clean_text(item) for item in value)
    return value


Text = Annotated[str, BeforeValidator(clean_text)]
