"""Base class of TOML and JSON records, which also reads earlier versions' field names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, model_validator

_WORDS = {"film": "image", "films": "images"}
"""parts of a name: as earlier versions wrote them -> as they are now"""
_NAMES = {
    "children": "copies",
    "children_of_a_image": "copies_per_image",
    "children_of_a_film": "copies_per_image",
}
"""whole names of fields, in the same way"""
_WORD = re.compile(r"[a-z0-9]+")


class RenamedSettingWarning(FutureWarning):
    """A user's setting has a new name."""


def current_name(name: str) -> str:
    """The current name of an earlier version's field.

    Example:
        >>> current_name("batch_films")
        'batch_images'
    """
    return _WORD.sub(lambda part: _WORDS.get(part[0], part[0]), name)


class Record(BaseModel):
    """A model that also accepts the earlier names of its fields.

    If ``warns_of_renames`` is set, as for what a user writes, each such name is a
    :class:`RenamedSettingWarning`.
    """

    warns_of_renames: ClassVar[bool] = False
    dropped: ClassVar[frozenset[str]] = frozenset()
    """fields of earlier versions that are read and have no effect"""

    @model_validator(mode="before")
    @classmethod
    def _take_earlier_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        renamed = dict(cls._renamed(values))
        for old, new in renamed.items() if cls.warns_of_renames else ():
            warnings.warn(
                f"setting {old!r} is now called {new!r}: rename it; the old name is deprecated",
                RenamedSettingWarning,
                stacklevel=2,
            )
        return {
            renamed.get(name, name): value
            for name, value in values.items()
            if name not in cls.dropped
        }

    @classmethod
    def _renamed(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Earlier versions' names among ``values``, with the current ones."""
        for name in values:
            if isinstance(name, str) and name not in cls.model_fields:
                new = _NAMES.get(name, current_name(name))
                if new in cls.model_fields and new not in values:
                    yield name, new
