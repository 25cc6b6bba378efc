"""What all settings share: frozen models that refuse what they do not know."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from pulmospark.core.records import Record

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Settings(Record):
    """Base: frozen; an unknown key is an error, and so is a number that is none (NaN, inf)."""

    warns_of_renames: ClassVar[bool] = True
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
