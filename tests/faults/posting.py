"""Posting: sends events to a collector over HTTP, each until it is acknowledged, as a browser's client does."""

from __future__ import annotations

import http.client
import json
import time
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
        name: Of the client, for its ids and its chances.
    """

    def __init__(self, port: int, impatience: float, name: str) -> None:
        self._impatience = impatience
        self._name = name
        self._chance = Random(name)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def send(self, event_name: str, data: dict[str, Any]) -> None:
        """Send an event until it was taken. Blocks.

        Raises:
            AssertionError: It was refused for good.
        """
        item = {"id": f"p-{data['k']}", "name": event_name, "data": data}
        body = json.dumps({"key": KEY, "events": [item]}).encode()
        while not self._send_once(body):
            time.sleep(_PAUSE_SECONDS)

    def _send_once(self, body: bytes) -> bool:
        connection = self._connection
        try:
            connection.request("POST", "/v1/events", body)
            if self._chance.random() < self._impatience:
                connection.close()
                return False
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return False
        if answer.status in _PASSING:
            assert answer.headers["retry-after"].isdecimal(), answer.headers
            return False
        assert answer.status == 200, f"answered {answer.status}: {text!r}"
        assert json.loads(text)["accepted"] == 1, text
        return True
