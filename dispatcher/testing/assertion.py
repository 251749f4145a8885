"""Assertion: whether events were emitted, and a text that shows where the closest one differs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dispatcher.event import Event, data_fields

# Events of other names that are listed when one is missing.
_MAX_NAMES: Final = 20


def find_emitted(
    events: Sequence[Event], name: str, data: Mapping[str, Any], context: Mapping[str, Any], count: int | None
) -> list[Event]:
    """The events of that name that hold these values; dicts inside may have more.

    Args:
        events: What was emitted.
        name: The event's name.
        data: What their data must hold.
        context: What their context must hold.
        count: How many there must be; None: one at least.

    Raises:
        AssertionError: There is another number of them.
    """
    wanted = {"data": dict(data), "context": dict(context)}
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


def _holds(value: Any, wanted: Any) -> bool:
    """Whether a value is the wanted one; of a dict only the wanted keys are looked at."""
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return all(key in value and _holds(value[key], inner) for key, inner in wanted.items())
    return bool(value == wanted)


def _narrow(value: Any, wanted: Any) -> Any:
    """A value with only the keys that are wanted, so that the rest is not in the way."""
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return {key: _narrow(value[key], inner) for key, inner in wanted.items() if key in value}
    return value


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, default=repr, ensure_ascii=False)


def _diff(wanted: str, emitted: str) -> list[str]:
    lines = difflib.ndiff(wanted.splitlines(), emitted.splitlines())
    return [f"  {line}" for line in lines if not line.startswith("?")]
