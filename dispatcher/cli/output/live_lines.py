"""Live lines: an event, or what became of it at one destination, as one line. Colours on a terminal only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.text import Text

from dispatcher.secrecy.safe_text import one_line
from dispatcher.secrecy.terminal import Console

#: What an outcome is called, and its colour on a terminal.
OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "delivered": ("delivered", "green"),
    "filtered": ("filtered", "cyan"),
    "posted": ("waits for the visitor's page", "cyan"),
    "retry": ("will be tried again", "yellow"),
    "dead": ("dead", "red"),
}


class LiveLines:
    """Prints live items on standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def print(self, item: Mapping[str, Any]) -> None:
        """Print one item, as relays and workers show it, as one line."""
        if item["kind"] == "event":
            self._console.print(_event_line(item))
        else:
            self._console.print(_delivery_line(item))


def _event_line(item: Mapping[str, Any]) -> Text:
    line = _head(item)
    if users := ", ".join(item["users"]):
        line.append(f"  user {one_line(users, 80)}")
    if not_taken := item.get("not_taken"):
        why = one_line(f"{not_taken['reason']}: {not_taken['error']}", 300)
        return line.append("  emit did not take it: ", "red").append(why)
    line.append("  goes to " + (", ".join(item["goes"]) or "nothing"))
    for name, reason in item["skipped"].items():
        line.append(f"  not {name}: {reason}", "bright_black")
    return line


def _delivery_line(item: Mapping[str, Any]) -> Text:
    word, colour = OUTCOMES[item["outcome"]]
    line = _head(item).append(f"  {item['destination']}: ").append(word, colour)
    if item["outcome"] != "retry" and item.get("reason"):
        line.append(f" ({one_line(item['reason'], 80)})")
    if item["attempt"] > 1:
        line.append(f", try {item['attempt']}")
    if item["outcome"] in ("delivered", "retry"):
        line.append(f" in {item['took_ms']:,.0f} ms")
    for part in ("error", "answer"):
        if text := item.get(part):
            line.append(f"  {'answer: ' if part == 'answer' else ''}{one_line(text, 400)}")
    return line


def _head(item: Mapping[str, Any]) -> Text:
    at = datetime.fromtimestamp(item["seen_ms"] / 1000, UTC).astimezone()
    line = Text(f"{at:%H:%M:%S}.{at.microsecond // 1000:03}  ", "bright_black")
    line.append(one_line(item["name"], 255), "bold" if item["kind"] == "event" else "")
    return line.append(f"  {one_line(item['id'], 100)}", "bright_black")
