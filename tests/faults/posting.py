"""Posting: sends events to a collector over HTTP, each until it is acknowledged, as a browser's client does."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, Final

#: The write key of the source.
KEY: Final = "a-key"
# Seconds before it sends again.
_PAUSE_SECONDS: Final = 0.02
_PASSING: Final = frozenset({408, 429, 503})


class Posting:
    """A client with one connection. For one thread.

    Args:
        port: Of the collector, which may be away.
        impatience: How often it is gone before the answer, between 0 and 1: it sends the event again.
        name: Of the client, for its chances.
        visitor: The references of the page's visitor.
    """

    def __init__(self, port: int, impatience: float, name: str, *, visitor: Sequence[str] = ()) -> None:
        self._impatience = impatience
        self._head = {"key": KEY, "visitor": visitor} if visitor else {"key": KEY}
        self._chance = Random(name)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def send(self, event_name: str, data: dict[str, Any]) -> None:
        """Send an event until it was taken. Blocks.

        Raises:
            AssertionError: It was refused for good.
        """
        item = {"id": f"p-{data['k']}", "name": event_name, "data": data}
        body = json.dumps({**self._head, "events": [item]}).encode()
        while (answer := self.exchange("/v1/events", body)) is None:
            time.sleep(_PAUSE_SECONDS)
        assert answer["accepted"] == 1, answer
        self.take(answer.get("handover", ()))

    def take(self, handed: Iterable[dict[str, Any]]) -> None:
        """Take what the collector has for the page."""

    def exchange(self, path: str, body: bytes) -> dict[str, Any] | None:
        """Post once. Returns the answer; None where there was none, or one that says to come again. Blocks.

        Raises:
            AssertionError: It was refused for good.
        """
        connection = self._connection
        try:
            connection.request("POST", path, body)
            if self._chance.random() < self._impatience:
                connection.close()
                return None
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None
        if answer.status in _PASSING:
            assert answer.headers["retry-after"].isdecimal(), answer.headers
            return None
        assert answer.status == 200, f"answered {answer.status}: {text!r}"
        return dict(json.loads(text))
