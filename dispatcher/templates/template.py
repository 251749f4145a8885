"""Templates: values from the settings with placeholders for fields of the event. Parsed once, filled often."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any, Final, TypeAlias

from dispatcher.templates.field_path import EVERY, MISSING, ROOTS, FieldPath, field_path, read
from dispatcher.templates.number import to_number

#: What templates are filled from: ``data`` and ``context``, and the texts ``name``, ``id``, ``timestamp``, ``type``.
Scope: TypeAlias = Mapping[str, Any]
#: Gives the value for a scope; MISSING if it is to be left out. Raises AbsentFieldError.
Fill: TypeAlias = Callable[[Scope], Any]

#: What an event has besides data and context.
EVENT_FIELDS: Final = ("name", "id", "timestamp", "type")

# Behind a field, what makes a number of its value.
_NUMBER: Final = "number"
_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class AbsentFieldError(LookupError):
    """A template needs a field that the event does not have.

    Args:
        field: The field's path.
        filter: What the value had to go through, as it stands in the template, such as ``|number``; else empty.
    """

    def __init__(self, field: str, filter: str = "") -> None:
        super().__init__(field)
        self.field = field
        self.filter = filter


@dataclass(frozen=True, slots=True)
class _Placeholder:
    """``{path}``, ``{path?}`` or ``{path|default}``; the same with ``|number`` behind the path."""

    field: str
    path: FieldPath
    optional: bool
    is_number: bool
    default: str | int | float | None

    def value(self, scope: Scope) -> Any:
        found = read(scope, self.path)
        if self.is_number:
            found = to_number(found)
        # Null says nothing, and would be "None" or "null" in the middle of a text.
        if found is not MISSING and found is not None:
            return found
        if self.default is not None:
            return self.default
        if self.optional:
            return MISSING
        raise AbsentFieldError(self.field, f"|{_NUMBER}" if self.is_number else "")


class Template:
    """Text with ``{data.course_id}`` and the like in it. ``{{`` and ``}}`` stand for braces.

    Raises:
        ValueError: It is not a template; the message says how to mend it.
    """

    def __init__(self, text: str) -> None:
        self._parts = tuple(_parts(text))

    def fill(self, scope: Scope) -> Any:
        """The text; of a template that is one placeholder and nothing else, the value itself, or MISSING.

        Raises:
            AbsentFieldError: The event lacks a field, or has no number there although the template wants one, and the
                template has neither ``?`` nor a default for it.
        """
        if len(self._parts) == 1 and isinstance(only := self._parts[0], _Placeholder):
            return only.value(scope)
        return "".join(part if isinstance(part, str) else _text(part.value(scope)) for part in self._parts)

    @property
    def constant(self) -> str | None:
        """The text, where it depends on no event."""
        texts = [part for part in self._parts if isinstance(part, str)]
        return "".join(texts) if len(texts) == len(self._parts) else None


def filler(value: Any) -> Fill:
    """What gives the value for an event: every text in it, however deep, is a template. Keys are not.

    What a template leaves out, by ``?``, is left out of its object or list too.

    Raises:
        ValueError: A text is not a template, or the value has no form in JSON; the message says how to mend it.
    """
    parsed = _parse(value)
    return partial(_fill, parsed) if _has_template(parsed) else lambda _: parsed


def _parse(value: Any) -> Any:
    """The value with a Template in the place of each text that depends on the event."""
    if isinstance(value, str):
        template = Template(value)
        return template if template.constant is None else template.constant
    if isinstance(value, Mapping):
        return {str(key): _parse(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_parse(item) for item in value]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    raise ValueError(f"{value} is not a value of JSON: write it as text, in quotes")


def _has_template(parsed: Any) -> bool:
    if isinstance(parsed, Template):
        return True
    inner = parsed.values() if isinstance(parsed, dict) else parsed if isinstance(parsed, list) else ()
    return any(_has_template(value) for value in inner)


def _fill(parsed: Any, scope: Scope) -> Any:
    if isinstance(parsed, Template):
        return parsed.fill(scope)
    if isinstance(parsed, dict):
        fields = {key: _fill(inner, scope) for key, inner in parsed.items()}
        return {key: value for key, value in fields.items() if value is not MISSING}
    if isinstance(parsed, list):
        items = [_fill(item, scope) for item in parsed]
        return [item for item in items if item is not MISSING]
    return parsed


def _parts(text: str) -> list[str | _Placeholder]:
    parts: list[str | _Placeholder] = []
    literal, end = "", 0
    for token in _TOKEN.finditer(text):
        literal += text[end : token.start()]
        end = token.end()
        if token[1] is not None:
            parts += [literal] if literal else []
            parts.append(_placeholder(token[1]))
            literal = ""
        elif len(token[0]) == 2:
            literal += token[0][0]
        else:
            raise ValueError(
                f"{text!r} has a {token[0]} without its other half: write {token[0] * 2} for the character"
            )
    return [*parts, literal + text[end:]] if literal or end < len(text) or not parts else parts


def _placeholder(inside: str) -> _Placeholder:
    field, separator, given = inside.partition("|")
    optional = field.endswith("?")
    field = field.removesuffix("?")
    default: str | int | float | None = given if separator else None
    is_number = default == _NUMBER or given.startswith(f"{_NUMBER}|")
    if is_number:
        _, separator, given = given.partition("|")
        default = to_number(given) if separator else None
        if separator and default is None:
            raise ValueError(f"{{{inside}}} makes a number, so that {given!r} cannot stand for a missing one: write 0")
    if optional and separator:
        filter_ = f"|{_NUMBER}" if is_number else ""
        raise ValueError(
            f"{{{inside}}} has both ? and a default: write {{{field}?{filter_}}} or {{{field}{filter_}|{given}}}"
        )
    return _Placeholder(field, _source(field), optional, is_number, default)


def _source(field: str) -> FieldPath:
    root = field.partition(".")[0]
    if field in EVENT_FIELDS or field in ROOTS:
        return (field,)
    if root not in ROOTS:
        meant = f"{{data.{field}}}" if field.strip() else "{data.course_id}"
        raise ValueError(
            f"{{{field}}} does not name a field: write {meant}, {{context.KEY}} or one of "
            f"{', '.join(f'{{{name}}}' for name in EVENT_FIELDS)}; {{{{ stands for a brace"
        )
    path = field_path(field, many=True)
    if EVERY in path:
        raise ValueError(f"{{{field}}} must name one field, so that * cannot stand in it")
    return path


def _text(value: Any) -> str:
    if value is MISSING:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
