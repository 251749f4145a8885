"""A New Relic that enforces the documented contract of its Event API, for one account. ``poison`` gets 400.

It answers 200 to whatever it can parse; what its documentation forbids beyond that is in ``violations``, as New Relic
tells in NrIntegrationError events. The rules are those of
https://docs.newrelic.com/docs/data-apis/custom-data/custom-events/data-requirements-limits-custom-event-data/.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final

from tests.support.vendor import POISON, Call, Reply, Vendor

ACCOUNT_ID: Final = "1234567"
LICENSE_KEY: Final = "hidden-license-key"

_DAY: Final = 24 * 3600
_NAME: Final = re.compile(r"[A-Za-z0-9:._]{1,255}")


class NewRelicVendor(Vendor):
    """Takes custom events; ``taken`` counts them by ``eventId``."""

    def __init__(self) -> None:
        super().__init__()
        self.violations: list[str] = []

    def answer(self, call: Call) -> Reply:
        if (call.method, call.path) != ("POST", f"/v1/accounts/{ACCOUNT_ID}/events"):
            return Reply(status=404)
        if call.headers.get("api-key") != LICENSE_KEY:
            return Reply(status=403)
        if len(call.content) > 1_000_000:
            return Reply(status=413)
        try:
            events = json.loads(call.content)
        except ValueError:
            return Reply(status=400)
        if not isinstance(events, list) or POISON in call.text:
            return Reply(status=400)
        with self._lock:
            self.violations += [violation for event in events for violation in _violations(event)]
        taken = [event["eventId"] for event in events]
        return Reply(body=b'{"success":true, "uuid":"f5f3a9f0-0001-b000-0000-017f36ee0f4f"}', taken=taken)


def _violations(event: dict[str, Any]) -> Iterator[str]:
    if not isinstance(event.get("eventType"), str):
        yield "an event without eventType"
    if len(event) > 254:
        yield f"{len(event)} attributes"
    if abs(event["timestamp"] / 1000 - time.time()) > _DAY:
        yield "a timestamp that is more than a day off"
    for name, value in event.items():
        if _NAME.fullmatch(name) is None:
            yield f"the name {name!r}"
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            yield f"{name} is {type(value).__name__}"
        if isinstance(value, str) and len(value) > 4096:
            yield f"{name} has {len(value)} characters"
