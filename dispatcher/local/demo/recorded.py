"""Recorded events: a file of them, copied with an id for each event without one, so that both ends show it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dispatcher.emit.ids import IdSource
from dispatcher.local.demo.visits import DemoError, Emitted

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.local.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Feed:
    """What became of a file.

    Args:
        events: All events of the file.
        taken: How many of them were emitted.
        refused: How many lines were not.
        errors: Why not, in the words of `dispatcher emit`.
    """

    events: tuple[Emitted, ...] = ()
    taken: int = 0
    refused: int = 0
    errors: tuple[str, ...] = ()


def feed(stage: Stage, source: Path) -> Feed:
    """Emit a file's events with `dispatcher emit --from`. Raises DemoError if the file cannot be read."""
    copy = stage.directory / source.with_suffix(".jsonl").name
    try:
        events = _copy(source, copy)
    except (OSError, UnicodeDecodeError) as error:
        raise DemoError(f"{source} cannot be read: {error}") from error
    outcome = stage.run("emit", "--from", str(copy), "--json")
    try:
        counts = json.loads(outcome.stdout)
        taken, refused = int(counts["emitted"]), int(counts["failed"])
    except (ValueError, KeyError) as error:
        raise DemoError(f"`dispatcher emit --from {source}` failed:\n{outcome.stderr.strip()}") from error
    errors = outcome.stderr.replace(str(copy), source.name).splitlines()
    return Feed(events, taken, refused, tuple(line for line in errors if line.strip()))


def _copy(source: Path, copy: Path) -> tuple[Emitted, ...]:
    new_id = IdSource().new
    events = []
    with source.open(encoding="utf-8") as lines, copy.open("w", encoding="utf-8") as copied:
        for line in lines:
            record = _record(line)
            if record is not None:
                record.setdefault("id", new_id())
                events.append(Emitted(str(record.get("name")), str(record["id"])))
            # A line that is not an event stays as it is: `dispatcher emit` then reports it with the same line number.
            copied.write(line if record is None else json.dumps(record) + "\n")
    return tuple(events)


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
