"""Found event: where an event went, a few lines for each destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from dispatcher.monitoring.units import count_text
from dispatcher.outcomes import FILTERED_REASONS
from dispatcher.secrecy.safe_text import one_line
from dispatcher.secrecy.terminal import Console

# How a state is said, and its colour on a terminal.
_STATES: Final[Mapping[str, tuple[str, str]]] = {
    "delivered": ("delivered", "green"),
    "filtered": ("left out", "cyan"),
    "logged": ("in the log", "green"),
    "outbox": ("in an outbox of this machine", "yellow"),
    "waiting": ("waiting", "yellow"),
    "posted": ("waits for the visitor's page", "cyan"),
    "dead": ("dead", "red"),
}
# Characters of an error.
_ERROR: Final = 300


def print_found(found: Sequence[Mapping[str, Any]]) -> None:
    """Print what ``find_events`` has found; then what was not looked at, once."""
    console = Console(highlight=False, soft_wrap=True)
    for event in found:
        head = Text(event["id"], style="bold")
        if event["name"] is not None:
            head.append(f"  {one_line(event['name'], 255)}  {event['timestamp']}", style="default")
        console.print(head)
        for line in _lines(event):
            console.print(Text("  ").append(line))
    for sentence in found[0]["partial"] if found else ():
        console.print(Text(f"not looked at: {sentence}", style="yellow"))


def _lines(event: Mapping[str, Any]) -> Iterator[Text]:
    for place in event["places"]:
        if place["destination"] == "":
            word, colour = _STATES["outbox"]
            yield Text(word, colour).append(f": {place['outbox']}; its relay has not put it into the store yet")
    routes = {route["destination"]: route for route in event["routes"]}
    names = dict.fromkeys(place["destination"] for place in event["places"] if place["destination"])
    is_in_outbox = any(place["destination"] == "" for place in event["places"])
    for name in dict.fromkeys([*routes, *names]):
        places = [place for place in event["places"] if place["destination"] == name]
        yield from (_place_line(name, place) for place in places)
        if not places and not routes[name]["goes"]:
            yield _route_line(name, routes[name])
        elif not places and not is_in_outbox:
            yield Text(f"{name}: ").append("nothing is known", "yellow").append(_unknown(event))
        elif places and _is_gone(places):
            yield Text(f"{name}: its dead letter is gone: it was replayed or dropped since")
    if not event["places"]:
        yield Text("it was found nowhere", "yellow").append(
            f"{_unknown(event)}. Outboxes of other machines are not looked at; `dispatcher find` there does."
        )


def _is_gone(places: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last that is known of it is that it died, and its dead letter was not found."""
    return places[-1]["state"] == "dead" and "letter" not in places[-1]


def _place_line(name: str, place: Mapping[str, Any]) -> Text:
    word, colour = _STATES[place["state"]]
    line = Text(f"{name}: ").append(word, colour)
    reason = place.get("reason", "")
    if reason:
        line.append(f" ({one_line(reason, 80)})")
        if place["state"] == "filtered" and reason in FILTERED_REASONS:
            line.append(f": {FILTERED_REASONS[reason].rstrip('.')}")
    line.append("".join(f"; {fact}" for fact in _facts(place)))
    for part in ("error", "answer"):
        if text := place.get(part):
            line.append(f"; {'it answered: ' if part == 'answer' else ''}{one_line(text, _ERROR)}", "bright_black")
    return line


def _facts(place: Mapping[str, Any]) -> Iterator[str]:
    if "number" in place:
        yield f"{place['path']}:{place['number']}, at byte {place['offset']:,}"
    if "at" in place:
        yield f"at {place['at']}"
    if "file" in place and "letter" in place:
        yield f"in the file {place['file']}, unless it was replayed from there"
    if place.get("attempt", 1) > 1:
        yield f"at try {place['attempt']}"
    if place.get("attempts"):
        yield f"tried {count_text(place['attempts'], 'time')}"
    if "batch" in place:
        yield f"batch {place['batch']}{_origin(place['batch'])}"
    if "batch_state" in place:
        yield f"which is {place['batch_state']}"
    if place.get("due_ms"):
        yield f"until {datetime.fromtimestamp(place['due_ms'] / 1000, UTC).isoformat(timespec='seconds')}"
    if place.get("together", 1) > 1:
        yield f"with {count_text(place['together'] - 1, 'other')}"
    if "host" in place:
        yield f"by a worker on {place['host']}"


def _origin(batch: str) -> str:
    """What a batch's id says of how the event came into it."""
    if "~" in batch:
        return f" (moved here from {batch.rpartition('~')[2]})"
    return " (replayed)" if batch.startswith("replay-") else ""


def _route_line(name: str, route: Mapping[str, Any]) -> Text:
    entry = f": {route['entry']}" if route["entry"] else ""
    line = Text(f"{name}: ").append("not sent", "cyan").append(f" ({route['reason']}): {route['sentence']}{entry}")
    return line.append("; by the settings as they are now", "bright_black")


def _unknown(event: Mapping[str, Any]) -> str:
    since = event["receipts_since_ms"]
    if since is None:
        return "; nobody has written receipts here"
    return f"; receipts here begin at {datetime.fromtimestamp(since / 1000, UTC).isoformat(timespec='seconds')}"
