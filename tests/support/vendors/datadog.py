"""A Datadog that enforces the documented contract of its logs intake, for one key. ``poison`` gets 400.

It answers 202 to logs of more than 1 MB and to old ones as well, cuts the first and drops the second, of which
``violations`` tells. The rules are those of https://docs.datadoghq.com/api/latest/logs/#send-logs.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

from tests.support.vendor import POISON, Call, Reply, Vendor

API_KEY: Final = "hidden-api-key"

_MAX_BYTES: Final = 5_000_000
_MAX_LOG_BYTES: Final = 1_000_000
_MAX_LOGS: Final = 1000
_MAX_AGE_SECONDS: Final = 18 * 3600


class DatadogVendor(Vendor):
    """Takes logs; ``taken`` counts them by the id in ``event``."""

    def __init__(self) -> None:
        super().__init__()
        self.violations: list[str] = []

    def answer(self, call: Call) -> Reply:
        if (call.method, call.path) != ("POST", "/api/v2/logs"):
            return Reply(status=404)
        key = call.headers.get("dd-api-key")
        if key != API_KEY:
            return Reply(status=401 if key is None else 403)
        if len(call.content) > _MAX_BYTES:
            return Reply(status=413)
        try:
            logs = json.loads(call.content)
        except ValueError:
            return Reply(status=400)
        if not isinstance(logs, list) or len(logs) > _MAX_LOGS or POISON in call.text:
            return Reply(status=400)
        with self._lock:
            self.violations += [violation for log in logs if (violation := _violation(log)) is not None]
        return Reply(status=202, body=b"{}", taken=[log["event"]["id"] for log in logs])


def _violation(log: dict[str, Any]) -> str | None:
    if len(json.dumps(log, ensure_ascii=False, separators=(",", ":")).encode()) > _MAX_LOG_BYTES:
        return "a log of more than 1 MB"
    if time.time() - log["timestamp"] / 1000 > _MAX_AGE_SECONDS:
        return "a log of more than 18 hours ago"
    texts = ("message", "ddsource", "service", "ddtags", "hostname")
    return next((f"{name} is not text" for name in texts if not isinstance(log.get(name, ""), str)), None)
