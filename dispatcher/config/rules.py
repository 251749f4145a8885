"""The tables of what an operator wants done with events before one destination gets them: mapping, privacy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from dispatcher.config.allowlists import Allowlist
from dispatcher.config.base import Table, checked_by
from dispatcher.templates.expression import Expression, is_available
from dispatcher.templates.field_path import field_path, find_nested
from dispatcher.templates.template import Template, filler

# What a rule can do, in the order in which errors list it.
_ACTIONS: Final = ("skip", "name", "pick", "drop", "rename", "hash", "set")

#: What becomes of e-mail addresses.
EmailTreatment = Literal["keep", "hash", "mask", "drop"]


def _check_scalar(value: Any) -> None:
    if not isinstance(value, str | bool | int | float):
        raise ValueError("it must be text, a number, true or false")


def _check_category(text: str) -> None:
    if not text or text != text.strip():
        raise ValueError("it must be the id of a consent category, such as Analytics")


def _check_name(text: str) -> None:
    if not text.strip():
        raise ValueError("it must not be empty")
    Template(text)


def _check_set(fields: Mapping[str, Any]) -> None:
    inner = find_nested(field_path(key) for key in fields)
    if inner is not None:
        raise ValueError(f"{'.'.join(inner)} is within another field that is set too: set the one or the other")


#: One field.
Path = Annotated[str, checked_by(field_path)]
#: One field, or several by ``*``.
Paths = Annotated[str, checked_by(partial(field_path, many=True))]
#: A value in an event that a condition can ask for.
Scalar = Annotated[Any, checked_by(_check_scalar)]
#: A category of consent.
Category = Annotated[str, checked_by(_check_category)]


class Condition(Table):
    """What a field must be: a value, a list of values, or a table of these keys, which must all hold."""

    any_of: tuple[Scalar, ...] | None = Field(None, description="It is one of these.")
    not_: tuple[Scalar, ...] | None = Field(None, alias="not", description="It is not one of these, or is absent.")
    exists: bool | None = Field(None, description="Whether it exists; null counts as absent.")
    at_least: float | None = Field(None, description="It is a number or the text of one, and this or more.")
    at_most: float | None = Field(None, description="It is a number or the text of one, and this or less.")
    matches: str | None = Field(None, description="It is text in which this regular expression is found.")

    @model_validator(mode="before")
    @classmethod
    def _read_short_forms(cls, given: Any) -> Any:
        if isinstance(given, Condition):
            return given
        if not isinstance(given, Mapping):
            return {"any_of": given if isinstance(given, list | tuple) else [given]}
        if not given:
            raise ValueError("it says nothing: write a value, a list of values, or a table such as {exists = true}")
        return given

    @field_validator("not_", mode="before")
    @classmethod
    def _read_one_value(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, list | tuple) else (value,)

    @field_validator("any_of", "not_", mode="after")
    @classmethod
    def _check_values(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if value == ():
            raise ValueError("it is an empty list: name the values, or take the condition away")
        return value

    @field_validator("matches", mode="after")
    @classmethod
    def _check_expression(cls, value: str | None) -> str | None:
        # A web process only routes, so it does without the library; ``check_options`` asks for it.
        if value is not None and is_available():
            Expression(value)
        return value

    @model_validator(mode="after")
    def _check_sense(self) -> Condition:
        others = (self.any_of, self.at_least, self.at_most, self.matches)
        if self.exists is None and self.not_ is None and others == (None,) * 4:
            raise ValueError("it says nothing: write a value, a list of values, or a table such as {exists = true}")
        if self.exists is False and others != (None,) * 4:
            raise ValueError("exists = false and another condition cannot both hold: take one away")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"no number is at least {self.at_least:g} and at most {self.at_most:g}: swap them")
        return self

    @model_serializer(mode="wrap")
    def _as_it_may_be_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        written = {
            "not" if key == "not_" else key: value[0] if isinstance(value, tuple | list) and len(value) == 1 else value
            for key, value in handler(self).items()
            if value is not None
        }
        return written["any_of"] if set(written) == {"any_of"} else written


class MappingRule(Table):
    """What is done with the events that it is for, before one destination gets them. Rules apply one after another."""

    events: Allowlist = Field(
        None, description="Which events, by the names they were emitted with; as in an allowlist. Absent: all."
    )
    when: Mapping[Path, Condition] = Field(
        default_factory=dict, description="Conditions on fields, which must all hold."
    )
    skip: bool = Field(False, description="Leave these events out.")
    hash: tuple[Paths, ...] = Field((), description="Fields that become their SHA-256.")
    pick: tuple[Paths, ...] | None = Field(None, description="The only fields to keep, of data and of context each.")
    drop: tuple[Paths, ...] = Field((), description="Fields to take away.")
    rename: Mapping[Path, Path] = Field(default_factory=dict, description="Fields and what they are called from then.")
    set: Annotated[Mapping[Path, Annotated[Any, checked_by(filler)]], checked_by(_check_set)] = Field(
        default_factory=dict, description="Fields and their values: constants, or templates."
    )
    name: Annotated[str, checked_by(_check_name)] | None = Field(
        None, description="What the event is called there; a template."
    )

    @field_validator("events", mode="after")
    @classmethod
    def _check_events(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value == ():
            raise ValueError("it lists nothing, so that the rule would never apply: name events, or take it away")
        return value

    @model_validator(mode="after")
    def _check_action(self) -> MappingRule:
        values = {action: getattr(self, action) for action in _ACTIONS}
        # An empty pick keeps no field, which is something to do.
        actions = [action for action, value in values.items() if value or (action == "pick" and value is not None)]
        if not actions:
            raise ValueError(f"this rule does nothing: give it one of {', '.join(_ACTIONS)}, or take it away")
        if self.skip and len(actions) > 1:
            raise ValueError(
                f"skip leaves the event out, so that {', '.join(actions[1:])} would do nothing: take one of them away"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_it_was_written(self, handler: SerializerFunctionWrapHandler) -> Any:
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


class PrivacySettings(Table):
    """What a destination must not get of people. Applied after the mapping."""

    drop: tuple[Paths, ...] = Field((), description="Fields to take away.")
    mask: tuple[Paths, ...] = Field((), description='Fields that become "***".')
    hash: tuple[Paths, ...] = Field((), description="Fields that become their SHA-256, trimmed and in lower case.")
    emails: EmailTreatment | None = Field(
        None, description="What becomes of e-mail addresses. Absent: hash for advertising types, else keep."
    )
