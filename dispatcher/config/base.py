"""Table: the base of every table of the settings, and the types of the numbers in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from dispatcher.secrecy.masking import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB: Final = 1024 * 1024

Seconds = Annotated[float, Field(gt=0)]
SecondsOrNone = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
# What workers unpack at most is twice that: dispatcher.store.packing.MAX_UNPACKED_BYTES.
Size = Annotated[int, Field(ge=1, le=32 * MIB)]


def checked_by(check: Callable[[Any], object]) -> AfterValidator:
    """For the annotation of a field: the value stays as it is, unless ``check`` raises ValueError."""

    def keep(value: Any) -> Any:
        check(value)
        return value

    return AfterValidator(keep)


class Table(BaseModel):
    """Base of every table: frozen, unknown keys refused, credentials never shown in its repr."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_boolean_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        # Python counts True as 1, so that a misplaced "true" would become one second or one thread.
        if isinstance(value, bool) and info.field_name is not None:
            annotation = cls.model_fields[info.field_name].annotation
            if {int, float} & {annotation, *get_args(annotation)}:
                raise ValueError("it must be a number, not true or false")
        return value

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for key, value in super().__repr_args__():
            yield key, mask(key or "", value)
