"""Assertion: whether events were emitted, and a text that shows where the closest one differs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from dispatcher.event import Event, data_fields
from dispatcher.wire import encode_json

# Events of other names that are listed when one is missing.
_MAX_NAMES: Final = 20


def find_emitted(
    events: Sequence[Event], name: str, data: Mapping[str, Any], context: Mapping[str, Any], count: int | None
) -> list[Event]:
    """The events of that name that hold these values; dicts inside may have more.

    Args:
        events: What was emitted.
        name: The event's name.
        data: What their data must hold, as it was given to ``emit``: a date is what a date becomes. Matchers, such as
            ``unittest.mock.ANY``, compare for themselves.
        context: What their context must hold, likewise.
        count: How many there must be; None: one at least.

    Raises:
        AssertionError: There is another number of them.
    """
    wanted = {"data": as_emitted(dict(data)), "context": as_emitted(dict(context))}
    found = [event for event in events if event.name == name and _holds(_parts(event), wanted)]
    if len(found) == count or (count is None and found):
        return found
    number = "at least one event" if count is None else f"{count} event{'' if count == 1 else 's'}"
    lines = [f"wanted {number} {name!r}, found {len(found)}"]
    same = [event for event in events if event.name == name and event not in found]
    if same and (count is None or len(found) < count):
        texts = [_text(_narrow(_parts(event), wanted)) for event in same]
        closest = max(texts, key=lambda text: difflib.SequenceMatcher(None, _text(wanted), text).ratio())
        lines.append(f"the closest of {len(same)} others of that name (- wanted, + emitted):")
        lines += _diff(_text(wanted), closest)
    elif not found:
        names = list(dict.fromkeys(event.name for event in events))
        lines.append(f"emitted were: {', '.join(names[:_MAX_NAMES])}" if names else "nothing was emitted")
    raise AssertionError("\n".join(lines))


def _parts(event: Event) -> dict[str, Any]:
    return {"data": data_fields(event), "context": event.context}


def as_emitted(value: Any) -> Any:
    """A value as an event has it: lists for tuples, text for dates. What has no JSON form stays what it is."""
    if isinstance(value, dict):
        return {_key(key): as_emitted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_emitted(inner) for inner in value]
    if isinstance(value, float):  # NaN would become None
        return value
    try:
        return msgspec.json.decode(encode_json(value))
    except Exception:  # such as a matcher's own code
        return value


def _key(key: Any) -> Any:
    try:
        return next(iter(msgspec.json.decode(encode_json({key: None}))))
    except Exception:  # the values then differ, and the message shows why
        return key


def _holds(value: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one; of a dict only the wanted keys are looked at."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return all(key in value and _holds(value[key], inner) for key, inner in wanted.items())
    if isinstance(wanted, list) and isinstance(value, list):
        return len(wanted) == len(value) and all(map(_holds, value, wanted))
    return bool(value == wanted)


def _narrow(value: Any, wanted: Any) -> Any:
    """A value with only the keys that are wanted, and as it is wanted where it holds, so that only the rest differs."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return {key: _narrow(value[key], inner) for key, inner in wanted.items() if key in value}
    if isinstance(wanted, list) and isinstance(value, list):
        return [*map(_narrow, value, wanted), *value[len(wanted) :]]
    return wanted if value == wanted else value


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, default=repr, ensure_ascii=False)


def _diff(wanted: str, emitted: str) -> list[str]:
    lines = difflib.ndiff(wanted.splitlines(), emitted.splitlines())
    return [f"  {line}" for line in lines if not line.startswith("?")]
