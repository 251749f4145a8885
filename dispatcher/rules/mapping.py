"""Mapping: what the rules of an operator make of an event for one destination. Pure; compiled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import as_object, utc_text
from dispatcher.outcomes import MAPPING
from dispatcher.routing import Allowlist
from dispatcher.rules.hashing import hash_value
from dispatcher.templates.expression import Expression
from dispatcher.templates.field_path import (
    MISSING,
    BlockedFieldError,
    FieldPath,
    change_at,
    drop_at,
    field_path,
    field_paths,
    keep_only,
    put,
    read,
)
from dispatcher.templates.number import to_number
from dispatcher.templates.template import AbsentFieldError, Template, filler

if TYPE_CHECKING:
    from dispatcher.config.rules import Condition, MappingRule
    from dispatcher.event import Event


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
    """One rule. Its conditions and templates read the event as the rule before it has left it."""

    def __init__(self, rule: MappingRule, where: str) -> None:
        self._where = where
        self._events = None if rule.events is None else Allowlist(rule.events)
        self._conditions = tuple(_Condition(field_path(path), condition) for path, condition in rule.when.items())
        self._skip = rule.skip
        self._hash = field_paths(rule.hash)
        self._pick = None if rule.pick is None else field_paths(rule.pick)
        self._drop = field_paths(rule.drop)
        self._rename = tuple((field_path(old), field_path(new)) for old, new in rule.rename.items())
        self._set = tuple((key, field_path(key), filler(value)) for key, value in rule.set.items())
        self._name = None if rule.name is None else Template(rule.name)

    def is_for(self, emitted_name: str, event: Event) -> bool:
        """Whether the rule applies to an event.

        Args:
            emitted_name: The name that the app gave it, which rules before this one may have changed.
            event: The event as the rules before this one left it.
        """
        if self._events is not None and emitted_name not in self._events:
            return False
        fields = {"data": event.data, "context": event.context}
        return all(condition.holds(fields) for condition in self._conditions)

    def apply(self, event: Event) -> Event:
        """The event as the rule makes it."""
        if self._skip:
            raise DropEvent(MAPPING)
        scope = {
            "name": event.name,
            "id": event.id,
            "timestamp": utc_text(event.timestamp),
            "type": event.type,
            "data": event.data,
            "context": event.context,
        }
        fields = {"data": event.data, "context": event.context}
        for path in self._hash:
            fields = change_at(fields, path, hash_value)
        if self._pick is not None:
            fields = _pick_fields(fields, self._pick)
        for path in self._drop:
            fields = drop_at(fields, path)
        fields = self._set_fields(self._rename_fields(fields), scope)
        if self._name is None:
            return msgspec.structs.replace(event, data=fields["data"], context=fields["context"])
        name = self._fill_name(self._name, scope)
        if event.type == "track":
            # Of a track call Segment takes the name that is in the call itself.
            fields = self._put(fields, ("data", "event"), name)
        return msgspec.structs.replace(event, name=name, data=fields["data"], context=fields["context"])

    def _rename_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        values = [(new, read(fields, old)) for old, new in self._rename]
        for old, _ in self._rename:
            fields = drop_at(fields, old)
        for new, value in values:
            if value is not MISSING:
                fields = self._put(fields, new, value)
        return fields

    def _set_fields(self, fields: dict[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
        for key, path, fill in self._set:
            try:
                value = fill(scope)
            except AbsentFieldError as error:
                raise self._absent(f"set.{key}", error) from None
            if value is not MISSING:
                fields = self._put(fields, path, value)
        return fields

    def _fill_name(self, template: Template, scope: Mapping[str, Any]) -> str:
        try:
            name = template.fill(scope)
        except AbsentFieldError as error:
            raise self._absent("name", error) from None
        if name is MISSING:
            return str(scope["name"])
        if not isinstance(name, str) or not name.strip():
            raise UndeliverableError(
                MAPPING, f"{self._where}.name makes no text of this event: use fields that are text, or a default"
            )
        return name

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
        field, needs = error.field, f"a number in {error.field}" if error.filter else error.field
        return UndeliverableError(
            MAPPING,
            f"{self._where}.{key} needs {needs}, which this event does not have: write {{{field}?{error.filter}}} if "
            f"it may be missing, {{{field}{error.filter}|something}} for something else then, or add a condition with "
            "`when`",
        )


def _pick_fields(fields: dict[str, Any], paths: Sequence[FieldPath]) -> dict[str, Any]:
    """The fields with nothing but what stands at the paths. Of data and context, one that no path names stays whole."""
    picked = dict(fields)
    # An empty list is to keep nothing of the data.
    for root in {path[0] for path in paths} or {"data"}:
        kept = keep_only(fields[root], [path[1:] for path in paths if path[0] == root])
        picked[root] = {} if kept is MISSING else kept
    return picked


class _Condition:
    """What a field must be for a rule to apply."""

    def __init__(self, path: FieldPath, condition: Condition) -> None:
        self._path = path
        self._condition = condition
        self._expression = None if condition.matches is None else Expression(condition.matches)

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """Whether the field of an event is so; it may be absent."""
        value, wanted = read(fields, self._path), self._condition
        is_there = value is not MISSING and value is not None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # A Decimal is text in JSON.
        number = value if is_number else to_number(value)
        return (
            (wanted.exists is None or wanted.exists is is_there)
            and (wanted.any_of is None or _is_one_of(value, wanted.any_of))
            and (wanted.not_ is None or not _is_one_of(value, wanted.not_))
            and (wanted.at_least is None or (number is not None and number >= wanted.at_least))
            and (wanted.at_most is None or (number is not None and number <= wanted.at_most))
            and (self._expression is None or (isinstance(value, str) and self._expression.is_found_in(value)))
        )


def _is_one_of(value: object, wanted: Sequence[object]) -> bool:
    # To Python True is 1.
    is_bool = isinstance(value, bool)
    return any(isinstance(other, bool) is is_bool and other == value for other in wanted)
