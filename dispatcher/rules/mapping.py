"""Mapping: what the rules of an operator make of an event for one destination. Pure; compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import as_object, utc_text
from dispatcher.outcomes import MAPPING
from dispatcher.routing import Allowlist
from dispatcher.rules.hashing import hashed
from dispatcher.templates.expression import Expression
from dispatcher.templates.field_path import MISSING, BlockedFieldError, FieldPath, changed, field_path, only, put, read
from dispatcher.templates.template import AbsentFieldError, Template, filler

if TYPE_CHECKING:
    from dispatcher.config.rules import Condition, MappingRule
    from dispatcher.event import Event

# Whether what stands in a field, or MISSING, is as it must be.
_Holds: TypeAlias = Callable[[Any], bool]


class Mapper:
    """Applies the rules of one destination, one after another. Immutable; may be shared by threads."""

    def __init__(self, rules: Sequence[MappingRule]) -> None:
        self._rules = tuple(_Rule(rule, f"mapping[{position}]") for position, rule in enumerate(rules))

    def apply(self, event: Event) -> Event:
        """The event as the rules make it. It has copies of what they change, and shares the rest.

        Raises:
            DropEvent: A rule leaves it out.
            UndeliverableError: A rule cannot be carried out on it.
        """
        emitted_name = event.name
        for rule in self._rules:
            if rule.is_for(emitted_name, event):
                event = rule.apply(event)
        return event


class _Rule:
    """One rule. What its conditions and templates read is the event as the rule finds it."""

    def __init__(self, rule: MappingRule, where: str) -> None:
        self._where = where
        self._events = None if rule.events is None else Allowlist(rule.events)
        self._when = tuple((field_path(path), _holds(condition)) for path, condition in rule.when.items())
        self._skip = rule.skip
        self._hash = _paths(rule.hash)
        self._pick = None if rule.pick is None else _paths(rule.pick)
        self._drop = _paths(rule.drop)
        self._rename = tuple((field_path(old), field_path(new)) for old, new in rule.rename.items())
        self._set = tuple((key, field_path(key), filler(value)) for key, value in rule.set.items())
        self._name = None if rule.name is None else Template(rule.name)

    def is_for(self, emitted_name: str, event: Event) -> bool:
        """Whether the rule applies."""
        if self._events is not None and emitted_name not in self._events:
            return False
        if not self._when:
            return True
        fields = {"data": event.data, "context": event.context}
        return all(holds(read(fields, path)) for path, holds in self._when)

    def apply(self, event: Event) -> Event:
        """The event as the rule makes it."""
        if self._skip:
            raise DropEvent(MAPPING)
        found = {
            "name": event.name,
            "id": event.id,
            "timestamp": utc_text(event.timestamp),
            "type": event.type,
            "data": event.data,
            "context": event.context,
        }
        fields = {"data": event.data, "context": event.context}
        for path in self._hash:
            fields = changed(fields, path, hashed)
        if self._pick is not None:
            fields = self._picked(fields)
        for path in self._drop:
            fields = changed(fields, path, _nothing)
        fields = self._with_set(self._renamed(fields), found)
        name = event.name if self._name is None else self._filled_name(found)
        if event.type == "track" and self._name is not None:
            # Of a track call Segment takes the name that the call itself says.
            fields = self._put(fields, ("data", "event"), name)
        return msgspec.structs.replace(event, name=name, data=fields["data"], context=fields["context"])

    def _picked(self, fields: dict[str, Any]) -> dict[str, Any]:
        inside: dict[str, list[FieldPath]] = {}
        for root, *path in self._pick or (("data",),):
            inside.setdefault(root, []).extend([tuple(path)] if path else [])
        kept = {root: only(fields[root], paths) for root, paths in inside.items()}
        return fields | {root: {} if value is MISSING else value for root, value in kept.items()}

    def _renamed(self, fields: dict[str, Any]) -> dict[str, Any]:
        values = [(new, read(fields, old)) for old, new in self._rename]
        for old, _ in self._rename:
            fields = changed(fields, old, _nothing)
        for new, value in values:
            if value is not MISSING:
                fields = self._put(fields, new, value)
        return fields

    def _with_set(self, fields: dict[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
        for key, path, fill in self._set:
            try:
                value = fill(found)
            except AbsentFieldError as error:
                raise self._absent(f"set.{key}", error) from None
            if value is not MISSING:
                fields = self._put(fields, path, value)
        return fields

    def _filled_name(self, found: Mapping[str, Any]) -> str:
        assert self._name is not None
        try:
            value = self._name.fill(found)
        except AbsentFieldError as error:
            raise self._absent("name", error) from None
        if value is MISSING:
            return str(found["name"])
        if not isinstance(value, str) or not value.strip():
            raise UndeliverableError(
                MAPPING, f"{self._where}.name makes no text of this event: use fields that are text, or a default"
            )
        return value

    def _put(self, fields: dict[str, Any], path: FieldPath, value: object) -> dict[str, Any]:
        if path[0] == "data" and not isinstance(fields["data"], dict):
            fields = fields | {"data": as_object(fields["data"])}
        try:
            return put(fields, path, value)
        except BlockedFieldError:
            raise UndeliverableError(
                MAPPING,
                f"{self._where} puts something into {'.'.join(path[:-1])}, and this event has no object there: choose "
                "another field, or add a condition with `when`",
            ) from None

    def _absent(self, key: str, error: AbsentFieldError) -> UndeliverableError:
        field = error.field
        return UndeliverableError(
            MAPPING,
            f"{self._where}.{key} needs {field}, which this event does not have: write {{{field}?}} if it may be "
            f"missing, {{{field}|something}} for something else then, or add a condition with `when`",
        )


def _paths(texts: Sequence[str]) -> tuple[FieldPath, ...]:
    return tuple(field_path(text, many=True) for text in texts)


def _nothing(_: object) -> object:
    return MISSING


def _holds(condition: Condition) -> _Holds:
    checks: list[_Holds] = []
    if (exists := condition.exists) is not None:
        checks.append(lambda value: (value is not MISSING and value is not None) is exists)
    if (wanted := condition.any_of) is not None:
        checks.append(lambda value: any(_same(value, one) for one in wanted))
    if (unwanted := condition.not_) is not None:
        checks.append(lambda value: not any(_same(value, one) for one in unwanted))
    if (least := condition.at_least) is not None:
        checks.append(lambda value: _is_number(value) and value >= least)
    if (most := condition.at_most) is not None:
        checks.append(lambda value: _is_number(value) and value <= most)
    if (pattern := condition.matches) is not None:
        expression = Expression(pattern)
        checks.append(lambda value: isinstance(value, str) and expression.is_found_in(value))
    return checks[0] if len(checks) == 1 else lambda value: all(check(value) for check in checks)


def _same(value: object, wanted: object) -> bool:
    # To Python True is 1.
    return isinstance(value, bool) is isinstance(wanted, bool) and value == wanted


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
