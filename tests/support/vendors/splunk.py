"""A Splunk that enforces the documented contract of its HTTP Event Collector, for one token. ``poison`` is refused.

Events before a refused one are indexed, as Splunk does it. The rules are those of the pages "Format events for HTTP
Event Collector", "Troubleshoot HTTP Event Collector" and "About HTTP Event Collector Indexer Acknowledgment".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tests.support.vendor import POISON, Call, Reply, Vendor

TOKEN: Final = "00000000-hidden-token-0000"
INDEX: Final = "events"

_MAX_BYTES: Final = 1_000_000
_KEYS: Final = {"time", "host", "source", "sourcetype", "index", "event", "fields"}


class SplunkVendor(Vendor):
    """Takes events; ``taken`` counts them by the id in ``event``.

    Args:
        acknowledges: Whether its token does indexer acknowledgement, which each request then needs a channel for.
    """

    def __init__(self, *, acknowledges: bool = False) -> None:
        super().__init__()
        self.acknowledges = acknowledges
        #: How often acknowledgements are asked for before a request counts as indexed; negative for never.
        self.questions_before_indexed = 1
        #: How many requests each channel has sent, and how often each of these was asked for.
        self.channels: dict[str, list[int]] = {}

    @property
    def event_calls(self) -> list[Call]:
        """The requests with events."""
        return [call for call in self.calls if call.path == "/services/collector/event"]

    def answer(self, call: Call) -> Reply:
        if call.method != "POST":
            return Reply(status=405)
        authorization = call.headers.get("authorization")
        if authorization is None:
            return _reply(401, 2, "Token is required")
        if authorization != f"Splunk {TOKEN}":
            return _reply(403, 4, "Invalid token") if authorization.startswith("Splunk ") else _reply(401, 3, "Invalid")
        if call.path == "/services/collector/ack":
            return self._acknowledgements(call)
        return self._events(call) if call.path == "/services/collector/event" else Reply(status=404)

    def _events(self, call: Call) -> Reply:
        channel = call.headers.get("x-splunk-request-channel")
        if self.acknowledges and channel is None:
            return _reply(400, 10, "Data channel is missing")
        if len(call.content) > _MAX_BYTES:
            return Reply(status=413)
        if not call.content.strip():
            return _reply(400, 5, "No data")
        taken: list[str] = []
        for number, given in enumerate(_objects(call.text)):
            if (refusal := _refusal(given)) is not None:
                return _reply(400, *refusal, {"invalid-event-number": number}, taken)
            taken.append(given["event"]["id"])
        if not self.acknowledges:
            return _reply(200, 0, "Success", taken=taken)
        with self._lock:
            asked = self.channels.setdefault(channel or "", [])
            asked.append(0)
            return _reply(200, 0, "Success", {"ackId": len(asked) - 1}, taken)

    def _acknowledgements(self, call: Call) -> Reply:
        if not self.acknowledges:
            return _reply(400, 14, "ACK is disabled")
        if "channel" not in call.query:
            return _reply(400, 10, "Data channel is missing")
        acks = {}
        with self._lock:
            asked = self.channels.get(call.query["channel"], [])
            for number in call.value["acks"]:
                asked[number] += 1
                acks[str(number)] = 0 <= self.questions_before_indexed < asked[number]
        return Reply(body=json.dumps({"acks": acks}).encode())


def _reply(
    status: int, code: int, text: str, more: Mapping[str, int] | None = None, taken: list[str] | None = None
) -> Reply:
    return Reply(
        status=status, body=json.dumps({"text": text, "code": code, **(more or {})}).encode(), taken=taken or ()
    )


def _objects(text: str) -> Iterator[Any]:
    """The values that stand one after another, or None for what is not JSON, after which nothing is read."""
    decoder, place = json.JSONDecoder(), 0
    while (place := len(text) - len(text[place:].lstrip())) < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
        except ValueError:
            yield None
            return
        yield value


def _refusal(given: Any) -> tuple[int, str] | None:
    if not isinstance(given, dict) or not given.keys() <= _KEYS or not isinstance(given.get("time", 0), int | float):
        return 6, "Invalid data format"
    if "event" not in given:
        return 12, "Event field is required"
    if given["event"] == "":
        return 13, "Event field cannot be blank"
    if given.get("index", INDEX) != INDEX:
        return 7, "Incorrect index"
    fields = given.get("fields", {})
    if not isinstance(fields, dict) or any(isinstance(value, dict | list) for value in fields.values()):
        return 15, "Error in handling indexed fields"
    return (6, "Invalid data format") if POISON in json.dumps(given) else None
