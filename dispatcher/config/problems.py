"""Problems: each mistake as one line that names the source, the key, the value, what is wrong and the remedy."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from dispatcher.config.credential import secret_types
from dispatcher.config.spelling import nearest
from dispatcher.config.suggestions import Subject, children, known_paths, meant_path, model_at
from dispatcher.config.variables import PREFIX, KeyPath, variable_name
from dispatcher.secrecy.masking import MASK, mask
from dispatcher.secrecy.secret_names import is_secret, may_be_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import BaseModel, ValidationError
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

_LIMITS: Final[Mapping[str, str]] = {
    "greater_than": "it must be more than {gt:g}",
    "greater_than_equal": "it must be {ge:g} or more",
    "less_than": "it must be less than {lt:g}",
    "less_than_equal": "it must be {le:g} or less",
}


def describe(error: ValidationError, subject: Subject) -> list[str]:
    """One line for each mistake that pydantic found in the subject."""
    return [line for details in error.errors(include_url=False) for line in _lines(details, subject)]


def problem(source: str, key: str, message: str, *value: Any) -> str:
    """One line for a mistake in the settings.

    Args:
        source: The file or variable that gave the value.
        key: The setting's path; its value is masked if the name looks like that of a credential.
        message: What is wrong and what to write instead.
    """
    if not value:
        return f"{source}: {key}: {message}"
    # The whole key decides: what a table of credentials holds is secret under any name.
    shown = json.dumps(mask(key, value[0]), default=str, ensure_ascii=False)
    if len(shown) > _VALUE_CHARACTERS:
        shown = f"{shown[:_VALUE_CHARACTERS]}…"
    return f"{source}: {key} = {shown}: {message}"


def is_credential(model: type[BaseModel], name: str) -> bool:
    """Whether a model declares a field as secret: the value itself, or those of its table or list."""
    field = model.model_fields.get(name)
    if field is None:
        return False
    return bool(secret_types(field.annotation))


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
        remedy = f"it is required; set it in the table, or as {variable_name(path)}"
        yield problem(subject.source(path[:-1]), key, remedy)
    elif isinstance(value, dict) and details["type"] == "value_error":
        # Most of the table is right, so it is not shown as a wrong value.
        yield problem(source, key, _message(details, is_variable=False))
    else:
        # Whatever its name, the model itself may say that a value is secret.
        is_hidden = bool(details["loc"]) and is_credential(subject.model, str(details["loc"][0]))
        message = _message(details, is_variable=source.startswith(PREFIX))
        yield problem(source, key, message, MASK if is_hidden else value)


def _dotted(parts: Iterable[int | str]) -> str:
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            # As in TOML: a key that holds a dot is written in quotes.
            text += f'."{part}"' if "." in part else f".{part}"
    return text.removeprefix(".")


def _message(details: ErrorDetails, *, is_variable: bool) -> str:
    error, context = details["type"], details.get("ctx", {})
    if error == "value_error":
        return str(context["error"])
    if error == "literal_error":
        allowed = re.findall(r"'([^']+)'", str(context["expected"]))
        close = nearest(str(details["input"]), allowed)
        return f"it must be one of {', '.join(allowed)}" + (f"; did you mean {close!r}?" if close else "")
    if error == "string_pattern_mismatch" and "[key]" in details["loc"]:
        return "the name of a destination begins with a letter and holds only a-z, 0-9 and _"
    if error in _LIMITS:
        return _LIMITS[error].format_map(context)
    family = error.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")
    wrong = _WRONG.get(error) or _WRONG.get(family) or details["msg"]
    return wrong + _IN_JSON.get(family, "") if is_variable else wrong


def _unknown_keys(path: KeyPath, value: Any, subject: Subject) -> Iterator[str]:
    """One line for the key; of a table that is like none, and of a variable, one for each key in it."""
    source = subject.source(path)
    is_variable = source.startswith(PREFIX)
    known = known_paths(subject)
    meant = meant_path(path, known, subject.destinations, is_variable=is_variable)
    if isinstance(value, dict) and value and (meant is None or is_variable):
        for key, inner in value.items():
            yield from _unknown_keys((*path, key), inner, subject)
        return
    if meant is not None:
        remedy = f"did you mean {variable_name(meant) if is_variable else '.'.join(meant)}?"
    elif siblings := children(known, path[:-1]):
        remedy = f"{'.'.join(path[:-1]) or 'the settings'} can hold {', '.join(siblings)}"
    else:
        remedy = f"the settings can hold {', '.join(children(known, ()))}"
    # A misspelt credential is a credential.
    is_hidden = may_be_secret(path[-1]) or (meant is not None and is_secret(meant[-1]))
    yield problem(source, ".".join(path), f"unknown setting; {remedy}", MASK if is_hidden else value)


def _unknown_in_item(details: ErrorDetails, source: str, key: str, subject: Subject) -> str:
    """The line for a key inside an item of a list, such as a rule of a mapping."""
    *table, name = details["loc"]
    known = [field.alias or own for own, field in model_at(subject.model, table).model_fields.items()]
    close = nearest(str(name), known)
    remedy = f"did you mean {close}?" if close else f"the table can hold {', '.join(known)}"
    value = MASK if may_be_secret(str(name)) else details["input"]
    return problem(source, key, f"unknown setting; {remedy}", value)
