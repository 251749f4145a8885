"""Page: a visitor's page, which posts events and hands over what waits for the visitor, as a browser's client does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from tests.faults.posting import KEY, Posting

#: The destination whose events pages hand over.
TAGS: Final = "tags"
# How often a page makes no calls at first: its vendor's function is not there yet.
_FAILS: Final = 0.05
# How often what a page has to say waits for the next time that it asks, and how often it is said once more.
_LATE, _TWICE = 0.2, 0.2
_WAIT_SECONDS: Final = 0.3


class Page(Posting):
    """A page that remembers what it handed over, and notes it in a file. For one thread.

    Args:
        port: Of the collector, which may be away.
        impatience: How often it is gone before an answer, between 0 and 1.
        name: Of the visitor: the process and thread that emit its events.
        directory: For the file.
        leaves: Whether it never asks, nor takes what comes with an answer.
    """

    def __init__(self, port: int, impatience: float, name: str, directory: Path, *, leaves: bool = False) -> None:
        self._visitor = [f"p_{sha256(name.encode()).hexdigest()[:32]}"]
        super().__init__(port, impatience, name, visitor=self._visitor)
        self._file = handed_path(directory, name).open("a", buffering=1)
        self._leaves = leaves
        self._known: set[str] = set()
        self._tried: set[str] = set()
        self._acks: list[dict[str, str]] = []

    def ask(self) -> None:
        """Say what became of events, and hand over those that wait. Blocks for a part of a second."""
        if self._leaves:
            return
        now: list[dict[str, str]] = []
        later: list[dict[str, str]] = []
        for ack in self._acks:
            (later if self._chance.random() < _LATE else now).append(ack)
        body = {"key": KEY, "visitor": self._visitor, "acks": now, "wait": _WAIT_SECONDS * self._chance.random()}
        answer = self.exchange("/v1/handover", json.dumps(body).encode())
        if answer is not None:
            self._acks = [*later, *(ack for ack in now if self._chance.random() < _TWICE)]
            self.take(answer["events"])

    def take(self, handed: Iterable[dict[str, Any]]) -> None:
        for one in () if self._leaves else handed:
            event_id, status = one["id"], "handed"
            if event_id not in self._known and event_id not in self._tried and self._chance.random() < _FAILS:
                self._tried.add(event_id)
                status = self._chance.choice(("error", "not_present"))
            elif event_id not in self._known:
                self._known.add(event_id)
                [call] = one["calls"]
                self._file.write(f"{call['arguments'][0]['k']}\n")
            self._acks.append({"id": event_id, "destination": one["destination"], "status": status})


def handed_path(directory: Path, name: str) -> Path:
    """Where a page notes what it handed over."""
    return directory / f"page-{name}.handed"


def read_handed(directory: Path) -> Counter[tuple[str, str]]:
    """How often each event was handed over, by the name of the page and the event's own."""
    return Counter(
        (path.name.removeprefix("page-").removesuffix(".handed"), key)
        for path in directory.glob("page-*.handed")
        for key in path.read_text().split()
    )
