"""Number: which values of an event are numbers: also a Decimal, which is text in JSON. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

#: The largest number that is taken for an amount, either sign: what 64 bits hold. Some vendors cannot read a request
#: with a larger one.
MAX_NUMBER: Final = 2**63 - 1

# A number as JSON writes it (RFC 8259 §6), and so as Decimal does: 49.90, -5, 1E+2. Thousands' separators, a decimal
# comma, Python's underscores and leading zeros do not belong to it: somebody reads another number there, or a code.
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
# A Decimal has 28 digits by default; longer texts are something else.
_MAX_CHARACTERS: Final = 64

# A double holds whole numbers of up to 309 digits. A run of so many has this many in a row of every 64th byte.
_STEP: Final = 64
_LONG_RUN: Final = re.compile(rb"[0-9]{4}")


def to_number(value: object) -> int | float | None:
    """The number that a value is, or is the text of; None if it is neither.

    Args:
        value: Any value of JSON. Text may have blanks around the number. True and false are not numbers.

    Returns:
        An int where the text has neither point nor exponent, else a float; never NaN, infinite, negative zero, or
        larger than ``MAX_NUMBER``.
    """
    if isinstance(value, str):
        match = _DECIMAL.fullmatch(value.strip(" \t\r\n")) if len(value) <= _MAX_CHARACTERS else None
        if match is None:
            return None
        value = float(match[0]) if match[1] or match[2] else int(match[0])
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_NUMBER:
        return None
    # NaN is not larger than anything. Zero takes the sign of a negative zero away.
    return value + 0 if isinstance(value, int) or isfinite(value) else None


def with_numbers(
    fields: dict[str, Any], names: frozenset[str], lists: Mapping[str, frozenset[str]] | None = None
) -> dict[str, Any]:
    """An object in which the fields that a vendor reads as numbers are numbers, where they are the text of one.

    Args:
        fields: The object, which stays as it is.
        names: The names of the fields.
        lists: Names of fields with lists of objects, and the names of such fields in each object.

    Returns:
        A copy with the same keys in the same order, or the object itself. What is not a number stays as it is.
    """
    # Most objects have none of the names, and this is the fastest way to see that.
    if names.isdisjoint(fields) and (lists is None or lists.keys().isdisjoint(fields)):
        return fields
    numbers: dict[str, Any] = {
        name: number
        for name in names & fields.keys()
        if isinstance(fields[name], str) and (number := to_number(fields[name])) is not None
    }
    for name, inner_names in (lists or {}).items():
        if isinstance(items := fields.get(name), list):
            numbers[name] = [with_numbers(item, inner_names) if isinstance(item, dict) else item for item in items]
    return {**fields, **numbers} if numbers else fields


def may_have_huge_number(payload: bytes) -> bool:
    """Whether JSON may have a whole number that no double holds: False is certain, True needs ``tame_numbers``."""
    return _LONG_RUN.search(payload[::_STEP]) is not None


def tame_numbers(value: Any) -> Any:
    """The value with each whole number that no double holds as text, at every depth, since readers of JSON refuse it.

    Raises:
        RecursionError: The value is nested too deeply.
    """
    if isinstance(value, dict):
        return {key: tame_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [tame_numbers(inner) for inner in value]
    if isinstance(value, int):
        try:
            float(value)
        except OverflowError:
            return str(value)
    return value
