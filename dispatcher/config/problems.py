"""Problems: each mistake as one line that names the source, the key, the value, what is wrong and the way out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, SecretBytes, SecretStr

from dispatcher.config.destination import DestinationSettings
from dispatcher.config.masking import MASK, is_secret, masked, may_be_secret
from dispatcher.config.schema import Settings
from dispatcher.config.spelling import nearest
from dispatcher.config.variables import PREFIX, KeyPath, variable_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

# A whole allowlist in an error line would hide what is wrong with it.
_VALUE_CHARACTERS: Final = 100

_WRONG: Final[Mapping[str, str]] = {
    "int": "it must be a whole number",
    "float": "it must be a number",
    "finite_number": "it must be a finite number",
    "bool": "it must be true or false",
    "string": "it must be text",
    "list": 'it must be a list, such as ["edx.course.*"]',
    "tuple": 'it must be a list, such as ["edx.course.*"]',
    "path": "it must be a path",
    "model": "it must be a table",
    "dict": "it must be a table",
    "mapping": "it must be a table",
}

# In a variable lists and tables are JSON.
_IN_JSON: Final[Mapping[str, str]] = {
    "tuple": ", in JSON",
    "list": ", in JSON",
    "model": ' in JSON, such as {"key": "value"}',
    "mapping": ' in JSON, such as {"key": "value"}',
    "dict": ' in JSON, such as {"key": "value"}',
}

# Variables that choose what is read, and may be misspelt as the others may.
_NO_SETTINGS: Final[tuple[KeyPath, ...]] = (("env",), ("settings",))

_SECRETS: Final = (SecretStr, SecretBytes)

_LIMITS: Final[Mapping[str, str]] = {
    "greater_than": "it must be more than {gt:g}",
    "greater_than_equal": "it must be {ge:g} or more",
    "less_than": "it must be less than {lt:g}",
    "less_than_equal": "it must be {le:g} or less",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was validated.

    Args:
        model: The model of the values.
        source: Who said the value at a path: a file, a variable, ``configure()`` or ``default``.
        prefix: Where the model's keys stand in the settings.
        destinations: The names of the destinations, for suggestions.
    """

    model: type[BaseModel]
    source: Callable[[KeyPath], str]
    prefix: KeyPath = ()
    destinations: tuple[str, ...] = ()


def describe(error: ValidationError, subject: Subject) -> list[str]:
    """One line for each mistake that pydantic found."""
    return [line for details in error.errors(include_url=False) for line in _lines(details, subject)]


def problem(source: str, key: str, message: str, *value: Any) -> str:
    """The form of every line; the value is masked where the key looks like that of a credential."""
    # The whole key decides: what a table of credentials holds is secret under any name.
    shown = f" = {_shown(key, value[0])}" if value else ""
    return f"{source}: {key}{shown}: {message}"


def _shown(key: str, value: Any) -> str:
    text = json.dumps(masked(key, value), default=str, ensure_ascii=False)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"


def _lines(details: ErrorDetails, subject: Subject) -> Iterator[str]:
    parts = (*subject.prefix, *(part for part in details["loc"] if part != "[key]"))
    # An item of a list has no source of its own.
    path = tuple(str(part) for part in takewhile(lambda part: isinstance(part, str), parts))
    source, key, value = subject.source(path), _dotted(parts), details["input"]
    if details["type"] == "extra_forbidden" and len(path) < len(parts):
        yield _unknown_in_item(details, source, key, subject)
    elif details["type"] == "extra_forbidden":
        yield from _unknown_keys(path, value, subject)
    elif details["type"] == "missing":
        way_out = f"it is required; set it in the table, or as {variable_name(path)}"
        yield problem(subject.source(path[:-1]), key, way_out)
    else:
        yield _wrong_value(details, source, key, subject)


def _wrong_value(details: ErrorDetails, source: str, key: str, subject: Subject) -> str:
    value = details["input"]
    message = _message(details, is_variable=source.startswith(PREFIX))
    # A table as a whole is no value to show: most of it is right.
    if isinstance(value, dict) and details["type"] == "value_error":
        return problem(source, key, message)
    return problem(source, key, message, MASK if _is_credential(details["loc"], subject.model) else value)


def _dotted(parts: Iterable[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in parts).removeprefix(".")


def _quoted(key: str) -> str:
    # As in TOML: a key that holds a dot is written in quotes.
    return f'"{key}"' if "." in key else key


def _message(details: ErrorDetails, *, is_variable: bool) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return _one_of(str(details["input"]), str(context["expected"]))
    if kind == "string_pattern_mismatch" and "[key]" in details["loc"]:
        return "the name of a destination begins with a letter and holds only a-z, 0-9 and _"
    if kind in _LIMITS:
        return _LIMITS[kind].format_map(context)
    family = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")
    wrong = _WRONG.get(kind) or _WRONG.get(family) or details["msg"]
    return wrong + _IN_JSON.get(family, "") if is_variable else wrong


def _one_of(value: str, expected: str) -> str:
    allowed = re.findall(r"'([^']+)'", expected)
    close = nearest(value, allowed)
    return f"it must be one of {', '.join(allowed)}" + (f"; did you mean {close!r}?" if close else "")


def _unknown_keys(path: KeyPath, value: Any, subject: Subject) -> Iterator[str]:
    """One line for the key; of a table that is like none, and of a variable, one for each key in it."""
    source = subject.source(path)
    known = _known(subject)
    is_variable = source.startswith(PREFIX)
    meant = _meant(path, [*known, *_NO_SETTINGS] if is_variable else known, subject.destinations)
    if isinstance(value, dict) and value and (meant is None or is_variable):
        for key, inner in value.items():
            yield from _unknown_keys((*path, key), inner, subject)
        return
    if meant is not None:
        spelt = variable_name(meant) if is_variable else ".".join(meant)
        way_out = f"did you mean {spelt}?"
    else:
        way_out = _what_there_is(path[:-1], known)
    # A misspelt credential is a credential.
    is_hidden = may_be_secret(path[-1]) or (meant is not None and is_secret(meant[-1]))
    yield problem(source, ".".join(path), f"unknown setting; {way_out}", MASK if is_hidden else value)


def _unknown_in_item(details: ErrorDetails, source: str, key: str, subject: Subject) -> str:
    """The line for a key inside an item of a list, such as a rule of a mapping."""
    *table, name = details["loc"]
    known = [field.alias or own for own, field in _model_at(subject.model, table).model_fields.items()]
    close = nearest(str(name), known)
    way_out = f"did you mean {close}?" if close else f"there can be {', '.join(known)}"
    value = MASK if may_be_secret(str(name)) else details["input"]
    return problem(source, key, f"unknown setting; {way_out}", value)


def _model_at(model: type[BaseModel], location: Iterable[int | str]) -> type[BaseModel]:
    """The model of the table at a place."""
    is_item = False
    for part in location:
        # The place of an item in a list, or its key in a table with free keys: its model is known already.
        if is_item:
            is_item = False
        elif (field := model.model_fields.get(str(part))) is not None:
            is_item = not isinstance(field.annotation, type)
            model = next(_models_in(field.annotation), model)
    return model


def _models_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from _models_in(inner)


def _what_there_is(table: KeyPath, known: list[KeyPath]) -> str:
    children = _children(known, table)
    if children:
        return f"{'.'.join(table) or 'the settings'} can hold {', '.join(children)}"
    return f"the settings can hold {', '.join(_children(known, ()))}"


def _meant(path: KeyPath, known: list[KeyPath], destinations: tuple[str, ...]) -> KeyPath | None:
    """The setting that a wrong path was meant to be: one underscore for two, a typo, or the wrong table."""
    by_spelling = {"_".join(setting): setting for setting in known}
    spelt = "_".join(path)
    if spelt in by_spelling:
        return by_spelling[spelt]
    if (option := _option_of_destination(path, destinations)) is not None:
        return option
    if (child := nearest(path[-1], _children(known, path[:-1]))) is not None:
        return (*path[:-1], child)
    elsewhere = [setting for setting in known if setting[-1] == path[-1]]
    if elsewhere:
        return elsewhere[0]
    # Inside a table that exists the names of both would be alike by the table's name alone.
    close = None if path[:-1] and _children(known, path[:-1]) else nearest(spelt, by_spelling)
    return None if close is None else by_spelling[close]


def _option_of_destination(path: KeyPath, destinations: tuple[str, ...]) -> KeyPath | None:
    """``segment_write_key``, ``segment.write_key`` and ``destinations_segment_write_key`` are a destination's."""
    spelt = "_".join(path).removeprefix("destinations_")
    for name in destinations:
        option = spelt.removeprefix(f"{name}_")
        if path[0] != "destinations" and option not in ("", spelt):
            return "destinations", name, option
    return None


def _known(subject: Subject) -> list[KeyPath]:
    own = (name for name in subject.model.model_fields if subject.prefix)
    return [*((*subject.prefix, name) for name in own), *_all_paths(Settings, (), subject.destinations)]


def _children(known: Iterable[KeyPath], table: KeyPath) -> list[str]:
    depth = len(table)
    return list(dict.fromkeys(path[depth] for path in known if path[:depth] == table and len(path) > depth))


def _all_paths(model: type[BaseModel], prefix: KeyPath, destinations: tuple[str, ...]) -> Iterator[KeyPath]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if model is Settings and name == "destinations":
            for destination in destinations:
                yield from _all_paths(DestinationSettings, (*prefix, name, destination), ())
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _all_paths(inner, (*prefix, name), ())
        elif name != "environment":
            yield (*prefix, name)


def _is_credential(location: tuple[int | str, ...], model: type[BaseModel]) -> bool:
    """Whether the model itself says that the value is secret, whatever its name."""
    return bool(location) and is_credential(model, str(location[0]))


def is_credential(model: type[BaseModel], name: str) -> bool:
    """Whether a model declares a field as secret: the value itself, or those of its table or list."""
    field = model.model_fields.get(name)
    return field is not None and any(kind in (field.annotation, *get_args(field.annotation)) for kind in _SECRETS)
