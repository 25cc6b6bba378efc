"""What all settings share: frozen models that refuse what they do not know."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _listed(value: Any) -> Any:
    """Names with commas between them, as ``--set`` gives them."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Settings(BaseModel):
    """Base: frozen; an unknown key is an error, and so is a number that is none (NaN, inf)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
