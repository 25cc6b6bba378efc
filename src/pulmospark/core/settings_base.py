"""Base of all settings: frozen models that refuse unknown keys."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from pulmospark.core.records import Record

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Settings(Record):
    """Base: frozen; unknown keys, NaN and infinity are errors."""

    warns_of_renames: ClassVar[bool] = True
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
