"""Base of all settings: frozen models that refuse unknown keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, dataclass_transform

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pulmospark.config.validation import validation_line
from pulmospark.core.errors import UsageError
from pulmospark.core.records import Record

if TYPE_CHECKING:  # a private name of pydantic's, which only the type checker needs
    from pydantic._internal._model_construction import ModelMetaclass as _ModelMetaclass
else:
    _ModelMetaclass = type(BaseModel)


def _listed(value: Any) -> Any:
    """Names with commas between them, as ``--set`` gives them."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
class _OneLineErrors(_ModelMetaclass):
    """Turns what pydantic finds wrong with a call into one line of the project's own error.

    ``model_validate``, by which files are read, does not come through here: its callers name the
    file in their own message.
    """

    def __call__(cls, *args: Any, **values: Any) -> Any:  # noqa: N805 - of a metaclass
        try:
            return super().__call__(*args, **values)
        except ValidationError as error:
            kind: Any = cls
            raise UsageError(f"{cls.__name__}: {validation_line(error, kind)}") from error


class Settings(Record, metaclass=_OneLineErrors):
    """Base: frozen; an unknown key is an error, and so is a number that is none (NaN, inf).

    Raises:
        UsageError: a setting is unknown, missing or out of its range.
    """

    warns_of_renames: ClassVar[bool] = True
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
