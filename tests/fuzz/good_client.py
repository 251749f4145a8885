"""Good client: sends good events all the time, and again until they are taken, as a good client does."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import Final

# Seconds between two requests.
_PAUSE_SECONDS: Final = 0.015
#: What may pass: the client sends again.
_PASSING: Final = frozenset({408, 429, 503})
# Seconds after which a client of a living collector should have had its answer, on a machine that others use too.
_PATIENCE_SECONDS: Final = 30.0
#: The name of each good event, and of nothing else.
EVENT: Final = "fuzz.good"


def good_event(key: str) -> dict[str, object]:
    """One of its events."""
    return {"id": f"good-{key}", "name": EVENT, "data": {"k": key}}


class GoodClient:
    """A thread that sends events to ``/v1/events``. ``with`` runs it.

    Args:
        port: Of the collector.
        key: The write key.
        prefix: Of the keys of its events.
    """

    def __init__(self, port: int, key: str, prefix: str = "g") -> None:
        self._port, self._key, self._prefix = port, key, prefix
        #: The keys of all events that were acknowledged.
        self.acknowledged: Final[set[str]] = set()
        #: What it should not have met.
        self.findings: Final[list[str]] = []
        #: How long each of its requests took.
        self.seconds: Final[list[float]] = []
        #: How often it had to send again.
        self.retries = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._send_on, name="good-client", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the request that is under way. Blocks for as long as that takes."""
        self._ends.set()
        self._thread.join()

    def _send_on(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_SECONDS)
        number = 0
        while not self._ends.is_set():
            keys = [f"{self._prefix}{number}.{place}" for place in range(1 + number % 3)]
            number += 1
            body = json.dumps({"key": self._key, "events": [good_event(key) for key in keys]})
            while not self._send(connection, body, keys) and not self._ends.wait(_PAUSE_SECONDS):
                self.retries += 1
            self._ends.wait(_PAUSE_SECONDS)
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, body: str, keys: list[str]) -> bool:
        began = time.monotonic()
        try:
            connection.request("POST", "/v1/events", body, {"Content-Type": "text/plain"})
            answer = connection.getresponse()
            text = answer.read()
        except TimeoutError:
            self.findings.append(f"the good client had no answer for {_PATIENCE_SECONDS:.0f} s")
            connection.close()
            return False
        except (OSError, http.client.HTTPException):
            connection.close()
            return False
        self.seconds.append(time.monotonic() - began)
        if answer.status == 200 and json.loads(text)["accepted"] == len(keys):
            self.acknowledged.update(keys)
            return True
        if answer.status not in _PASSING:
            self.findings.append(f"the good client was answered {answer.status}: {text[:200]!r}")
        return False
